"""The search for hyperparameters as a job: its request, and its life on SageMaker."""
