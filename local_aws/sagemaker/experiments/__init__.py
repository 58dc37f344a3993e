"""SageMaker experiments: what people write down about their trials."""
