"""The function behind the HTTP API of a model: JSON by column name in, the endpoint's answer out.

Standard library and boto3 only. Its archive holds this folder, the data contract's rules, the model's wording and ``model.json``.
"""
