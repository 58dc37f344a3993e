"""SageMaker with real work: jobs that train, endpoints that answer, the registry."""
