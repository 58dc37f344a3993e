"""The whole stack on one machine without Docker: environments, local_aws, Airflow, and the demo."""
