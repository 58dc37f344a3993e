"""What serves: the model registry, the endpoint and its verification, the way back.

Used by task bodies when a decision was made.
"""
