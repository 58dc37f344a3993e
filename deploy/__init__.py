"""Brings the project to an AWS account, real or local, with the same calls."""
