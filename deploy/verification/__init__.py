"""``make verify-aws``: one pass through all that a deployment makes, in one of its own, which is asked about and taken down again."""
