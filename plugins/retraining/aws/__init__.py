"""How AWS is reached: clients, the meaning of its errors, small documents in S3, names that come from content, image URIs.

Knows nothing of models, data sets or DAGs.
"""
