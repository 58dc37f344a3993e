"""Which files make up which version of the data set: the log, the landing zone, and the check of what the log names.

The log is the truth; what runs jobs or decides on models stands below.
"""
