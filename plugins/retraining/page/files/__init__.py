"""Files that people bring: received within limits, read in a process of their own, sent, or held against the model's answers."""
