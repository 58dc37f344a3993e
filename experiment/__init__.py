"""Experiments: a variation of a model against the champion, through the SageMaker SDK, beside production. See docs/experiment.md."""
