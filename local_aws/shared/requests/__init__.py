"""What a request may say: the service model's types, lengths and patterns, and what is done about each of its members."""
