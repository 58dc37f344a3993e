"""The merge of new files into the data set, one subject a module; `job` puts them together.

Travels to Glue as one zip with ``retraining.contract``, whose rules it applies; imports pyspark and, for s3:// URIs, boto3.
"""
