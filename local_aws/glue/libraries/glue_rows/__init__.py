"""What the frames of `awsglue` are made with: reading, writing, choices, bookmarks, tables in Spark SQL."""
