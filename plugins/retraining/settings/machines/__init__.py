"""What jobs and endpoint run on: images, machines, limits, and what is added to the requests of jobs."""
