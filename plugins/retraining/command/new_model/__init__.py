"""Makes a model folder of a CSV file: looks at it, proposes contract, task, split, candidates and gate, and writes them with reasons."""
