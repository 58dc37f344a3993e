"""The merge of new files into the data set; `job` puts it together.

Travels to Glue as one zip with ``retraining.contract``, whose rules it applies; imports boto3 for s3:// URIs, pyarrow for few rows, and
pyspark for many.
"""
