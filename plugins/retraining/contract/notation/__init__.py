"""How the rows of a file are written: which notation its name promises, and the notations that are no delimited text."""
