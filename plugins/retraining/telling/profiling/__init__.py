"""The page of what the columns of a dataset version hold."""
