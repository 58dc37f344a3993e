"""Play the survey company: make new abalone measurements from the current dataset version and upload them as new data.

**What it does.** `plan_survey` fixes dataset version, options and file name. `make_survey` is a processing job: it fits the generator
to the training rows (a CTGAN fit is kept per dataset version), draws rows, adds drift, duplicates and dirt if asked, and writes a report.
`upload_survey` puts the file into `s3://BUCKET/abalone/new/synthetic/`, replayed real rows into `new/`; that wakes `abalone_retraining`.

**When it runs.** By hand. For a survey every night, give `survey_dag` below a cron expression: `schedule="0 2 * * *"`.

**Parameters.** Method (`copula`, `ctgan`, `replay`), rows, CTGAN epochs, valid rows only, drift, dirt and its kinds, duplicates, known
rows, late days, seed. The method `ctgan` needs an image of your own on AWS and the environment `survey` locally: docs/survey.md.

**What a re-run does.** The seed comes from the run, so a cleared or repeated task finds its job and uploads the same file under the same
name, which counts once. A new run draws new rows.
"""

from pathlib import Path

from airflow.sdk import DAG

from retraining.dag.survey_dag import survey_dag

here = Path(__file__).parent
dag: DAG = survey_dag(here / "models" / "abalone", here / "survey", doc_md=__doc__)
