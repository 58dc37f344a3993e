"""What the verbs of the Makefile do besides starting and stopping: checks of a call, what a run came to, reports, logs."""
