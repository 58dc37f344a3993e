"""What runs inside the job: fits a generator to the training rows of a dataset version and writes a survey file with its report.

Needs numpy, pandas, scipy and scikit-learn; only the method ``ctgan`` needs the ``ctgan`` package. The package imports nothing from the
rest of the project, so that it can be shipped to a processing job alone: ``python -m generator`` with its parent folder on the path.
"""
