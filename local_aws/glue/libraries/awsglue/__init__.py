"""The few names of AWS's awsglue package that a plain Spark script needs."""
