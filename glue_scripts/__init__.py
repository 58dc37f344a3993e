"""What runs inside AWS Glue."""
