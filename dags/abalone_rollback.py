"""Return the abalone endpoint to an earlier approved model.

**What it does.** `choose_package` picks the model package, checks that its artifact is still there, and records who goes back and why in
`s3://BUCKET/abalone/rollbacks/`. `return_endpoint` brings the endpoint to that model, blue/green and at once. `verify_endpoint` sends a
request whose answer is known from the package's evaluation; if it differs, the endpoint goes back to what it served before.
`record_rollback` rejects the newer packages in the registry, so that the newest approved package is what serves, and tells the topic.

**When it runs.** By hand only.

**Parameters.** The form of "Trigger": the package (version number or ARN; empty for the approved one before the newest), why (required),
who (only when Airflow does not know).

**What a re-run does.** A cleared run goes back to the package it chose the first time, and finds model, config and endpoint as they are. A
new run without a package goes back one further. Choosing an abandoned package brings it back.
"""

from pathlib import Path

from airflow.sdk import DAG

from retraining.dag.rollback_dag import rollback_dag

dag: DAG = rollback_dag(Path(__file__).parent / "models" / "abalone", doc_md=__doc__)
