"""Command lines of the library, for people at a terminal.

No other room imports it.
"""
