"""Score files with the model that serves, or would: a CSV file put below `abalone/batch/in/` finds its answers below `abalone/batch/out/`.

**What it does.** `claim_files` takes the files that no model has scored yet, as they are at that moment, and the champion. `score_files` is
one processing job for all of them: each file is read as the merge reads it, the target may be missing, and its good rows are answered by
the code that lies in the model. `publish_scores` puts the results into `batch/out/PATH/MODEL-ETAG/`: `scored.csv`, `rejected.csv` with
reasons, and at last `record.json`. The model needs no endpoint.

**When it runs.** As `batch.cron` in model.yaml says, hourly unless it is changed; by hand. Without a new file a run is skipped.

**Parameters.** Score again: also files that an earlier model has scored.

**What a re-run does.** A file is scored once by a model. A repeated task finds its job, and publishes what is not on record yet.
"""

from pathlib import Path

from airflow.sdk import DAG

from retraining.dag.service_dags import batch_dag

dag: DAG = batch_dag(Path(__file__).parent / "models" / "abalone", doc_md=__doc__)
