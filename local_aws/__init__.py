"""An AWS account on one machine: MiniStack for the plain services, and real jobs for Glue and SageMaker."""

__version__ = "0.1.0"
