"""Data-centric retraining on Airflow, Glue and SageMaker: the library that the DAG files wire together.

The pure core (``config``, ``contract``, ``dataset_log``, ``naming``, ``job_requests``, ``gate``, ``report``) knows neither Airflow nor
the network. The edges (``aws_clients``, ``aws_jobs``, ``operators``, ``triggers``, ``sensors``, ``steps``) carry it to the services.
``dag_factory`` turns a model folder into a DAG.
"""
