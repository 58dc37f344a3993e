"""What is configured: ``model.yaml`` and the platform parameter as frozen objects.

Reads files, never the network. Every other room but ``contract`` may use it.
"""
