"""Which split a row belongs to: by the hash of what it is, or by its time."""
