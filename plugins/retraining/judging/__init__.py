"""Which model is better: the choice between candidates, and the gate between champion and challenger.

Functions of numbers; they read no data and change nothing.
"""
