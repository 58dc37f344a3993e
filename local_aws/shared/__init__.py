"""What the services share: processes under a supervisor, sandboxes, documents, logs, errors, validation against botocore."""
