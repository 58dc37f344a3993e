"""SageMaker pipelines: definitions, and the executions that run their steps."""
