"""The merge of few rows, in memory: judged by the contract's own reader, with the same files and counts as by Spark.

Most batches are small. Spark plans and compiles for seconds whatever their size; a hundred rows need none of it.
"""
