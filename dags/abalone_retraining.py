"""Retrain the abalone model when new measurements have landed in S3, and deploy it when it is better.

**What it does.** `sense_new_data` lists the landing zone against the dataset log; without new files the run is skipped and costs nothing.
`crawl_data` and `preprocess_data` check and merge the files as the next dataset version. `training`, `evaluate_model` and
`analyze_results` train the candidates and compare the best with the champion on the same test rows. `check_threshold` decides, and says
why. `approved` leads to registry and endpoint, `rejected` keeps the old model.

**When it runs.** Seconds after a file lands in `s3://BUCKET/abalone/new/` (S3, SQS, asset event), daily at 05:00 UTC as a net, or by hand.

**Parameters.** The form of "Trigger": retrain without new data, dry run, ask a person, RMSE threshold, candidates, hyperparameters,
dataset version.

**What a re-run does.** Jobs, models and packages are named by a digest of their inputs. A cleared or repeated task finds the work that
exists and pays for nothing twice.
"""

from pathlib import Path

from airflow.sdk import DAG

from retraining.dag.retraining_dag import retraining_dag

dag: DAG = retraining_dag(Path(__file__).parent / "models" / "abalone", doc_md=__doc__)
