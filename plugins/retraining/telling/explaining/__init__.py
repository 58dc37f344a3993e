"""The part of a report that says what the model goes by."""
