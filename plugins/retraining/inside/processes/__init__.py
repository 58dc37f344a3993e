"""The process that an artifact's code runs in: a fork or a new Python, and what it answers there."""
