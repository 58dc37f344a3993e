"""Steps that are written with the SageMaker SDK: what their functions are told, and how their one job is caught and carried out.

``runner`` runs beside the SDK in an environment of its own; the rest is plain Python.
"""
