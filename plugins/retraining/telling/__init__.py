"""What people are told: the report of a run with its plots, the message of its outcome.

Reads what other rooms have written; decides nothing.
"""
