"""The HTTP face of the account: guards, routing, MiniStack behind it, the access log."""
