"""How AWS is reached: clients, the meaning of its errors, small documents in S3, names that come from content.

Knows nothing of models, data sets or DAGs.
"""
