"""Code that runs inside jobs and containers: reading the data, training, evaluation, serving.

Uses numpy, pandas and scikit-learn of the job's image, and the contract; nothing of Airflow, pydantic or boto3. Airflow never imports it:
it travels to the jobs as files, with the model's own code, and inside each artifact.
"""
