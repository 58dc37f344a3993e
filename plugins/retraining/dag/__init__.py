"""Airflow: factories that turn a model folder into DAGs, task bodies by phase, operators, sensors and triggers.

The only room that imports Airflow; nothing else may import it, but ``command`` and ``page``.
"""
