"""Paid work: the plan of a run, the requests that AWS takes, one module for each kind of job, the code that travels with them.

Used by the task bodies and by whoever submits a job; waits for nothing itself.
"""
