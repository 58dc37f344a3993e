"""The split of rows where it needs more than the row itself."""
