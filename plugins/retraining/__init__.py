"""Data-centric retraining on Airflow, Glue and SageMaker: the library that the DAG files wire together.

Each room may use those above it: ``contract``, ``settings``, ``aws``, ``dataset``, ``jobs``, ``judging``, ``serving``, ``telling``,
``sdk``, ``survey``, ``dag``, ``command``, ``page``. A room's own docstring says what lives there; docs/map.md draws them.
"""
