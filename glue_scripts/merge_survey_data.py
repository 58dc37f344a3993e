"""Merge one batch of survey files into the dataset: the Glue job of the task `preprocess_data`.

The manifest names the files, the data contract and the batches that are already committed. Each file is judged alone: its rows are checked
against the contract, or it is refused or ignored and says why. Rows that the batch or the history holds already are dropped, the others are
split by row hash and written as Parquet and as training CSV. Rejected rows go to quarantine with file, line, column, value and reason.
Nothing is visible to readers before the dataset log names the batch, so the job may die anywhere and be run again: the same manifest gives
the same bytes in the same places.

Runs on Glue 5.1 (Spark 3.5) and 6.0 (Spark 4.1), with ANSI mode on or off. Its modules come in the zip that ``--extra-py-files`` names:

    merge_survey_data.py --manifest s3://BUCKET/MODEL/runs/RUN_KEY/manifest.json

Glue's own arguments are ignored. docs/data-contract.md describes the contract, the canonical row, the formats accepted
and the layout of the quarantine.
"""

from __future__ import annotations

import sys

from glue_scripts.merge.job import main

if __name__ == "__main__":
    main(sys.argv[1:])  # no sys.exit: a launcher of Glue may take that of 0 for a failure
