"""What a row and a file must be: rules, layout of a file, rows in plain Python.

Standard library only, because it travels into every job. The merge makes its Spark expressions from these rules, the file check, the survey
company and the endpoint apply them directly. It knows nothing of AWS, Airflow or the rest of the library.
"""
