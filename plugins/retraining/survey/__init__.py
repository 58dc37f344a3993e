"""The survey company's job: where new measurements come from and go to.

Used by its DAG and by ``make survey``.
"""
