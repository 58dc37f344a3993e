"""Glue with real work: crawlers that read files, job runs that run Spark."""
