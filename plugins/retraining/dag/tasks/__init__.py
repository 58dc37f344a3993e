"""The bodies of the DAGs' tasks, by phase: data, model, serving, the end of a run, rollback.

Each reads what it needs, calls the pure core, and writes down what came out.
"""
