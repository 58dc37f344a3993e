"""The page in the Airflow UI: what serves, what was judged, what landed; send data, try the model.

Imported by the first request for the page, never by a task.
"""
