"""What a workflow of GitHub needs beside the verbs: an identity without a stored key, and a plan as a comment. Standard library only."""
