"""The merge of a batch in memory, with the files and counts of Spark: plain lines many at once, others by the contract's own reader.

Most batches are small. Spark plans and compiles for seconds whatever their size; they need none of it.
"""
