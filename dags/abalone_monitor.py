"""Watch the requests that the abalone model answers, and say when they have left what it was trained on, or labels say that it errs more.

**What it does.** `find_requests` takes the requests that were captured, and the labels that came, since the last look. `read_requests` is a
processing job: it counts their values in the bins of the training rows, whose profile lies in the model, and holds labels against answers. `judge_requests` takes the counts into the drift detectors,
opens or closes the one incident of the model, publishes a message when it does, and writes the page `monitor/page.html`. When there are
data that no model was judged on, an incident that opens wakes `abalone_retraining`, once.

**When it runs.** As `monitor.cron` in model.yaml says, daily unless it is changed; by hand. Without a new request or label a run is skipped.

**Parameters.** None; `monitor` in model.yaml says how seldom a false alarm may be, and what is no drift.

**What a re-run does.** A look counts once: a repeated task finds its job, and what it has told stays told.
"""

from pathlib import Path

from airflow.sdk import DAG

from retraining.dag.service_dags import monitor_dag

dag: DAG = monitor_dag(Path(__file__).parent / "models" / "abalone", doc_md=__doc__)
