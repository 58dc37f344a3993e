"""What is configured: ``model.yaml`` and the platform parameter as frozen objects, with the table of images that it may name.

Reads files, never the network. Every other room but ``contract`` may use it.
"""
