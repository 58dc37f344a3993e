"""What the jobs of SageMaker run on: machines and time limits, and what is added to their requests."""
