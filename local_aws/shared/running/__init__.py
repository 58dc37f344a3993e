"""How a job becomes a process: its supervisor, what it sees of this machine, its environment."""
