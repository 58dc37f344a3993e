"""What the local Airflow is told beside its defaults holds on MWAA, too, or says why not: a setting of one side hides faults."""

import re

import cloudformation
import yaml

from deploy import artifacts, environment
from local_stack import airflow_settings

PER_MACHINE = {
    "CORE__DAGS_FOLDER": "place of the files",
    "CORE__PLUGINS_FOLDER": "place of the files",
    "CORE__LOAD_EXAMPLES": "MWAA's image sets it to False, too",
    "CORE__EXECUTOR": "MWAA's is Celery; both give each task a process of its own",
    "CORE__PARALLELISM": "size of the machine",
    "CORE__FERNET_KEY": "a secret, which MWAA has of its own",
    "CORE__AUTH_MANAGER": "who may log in; MWAA's is IAM",
    "CORE__SIMPLE_AUTH_MANAGER_USERS": "who may log in",
    "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": "who may log in",
    "CORE__EXECUTION_API_SERVER_URL": "address of the API server, which MWAA's image sets",
    "DATABASE__SQL_ALCHEMY_CONN": "address of the database",
    "API__HOST": "address of the web server",
    "API__PORT": "address of the web server",
    "API__BASE_URL": "address of the web server",
    "API__WORKERS": "size of the machine",
    "API__SECRET_KEY": "a secret, which MWAA has of its own",
    "API_AUTH__JWT_SECRET": "a secret, which MWAA has of its own",
    "API__EXPOSE_CONFIG": "Airflow's default, said again because the local page must not show secrets",
    "API__ENABLE_SWAGGER_UI": "the local page loads no script from elsewhere; MWAA's is behind IAM",
    "DAG_PROCESSOR__REFRESH_INTERVAL": "how soon a changed file is seen",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "how soon a changed file is seen",
    "DAG_PROCESSOR__PARSING_PROCESSES": "size of the machine",
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "how soon a task is started",
    "SCHEDULER__ENABLE_HEALTH_CHECK": "a port that nobody asks",
    "TRIGGERER__ENABLE_HEALTH_CHECK": "a port that nobody asks",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "how soon a killed triggerer is known to be; MWAA's are several and busy, and Airflow's 30 s stay",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "as the one before",
    "LOGGING__BASE_LOG_FOLDER": "place of the files",
    "LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "other users of this machine; MWAA's logs are in CloudWatch",
    "LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "other users of this machine; MWAA's logs are in CloudWatch",
    "USAGE_DATA_COLLECTION__ENABLED": "MWAA has no way to the collector",
}


def declared() -> set[str]:
    template = cloudformation.read(environment.ENVIRONMENT_TEMPLATE)
    options = template["Resources"]["Environment"]["Properties"].get("AirflowConfigurationOptions", {})
    return {name.upper().replace(".", "__") for name in options}


def set_locally() -> set[str]:
    source = (artifacts.ROOT / "local_stack" / "airflow_settings.py").read_text()
    names = set(re.findall(r'^        "([A-Z_]+__[A-Z_]+)":', source, re.MULTILINE))
    assert "CORE__EXECUTOR" in names and airflow_settings.ADMIN
    compose = yaml.safe_load((artifacts.ROOT / "docker-compose.yaml").read_text())
    texts = {key for part in compose.values() if isinstance(part, dict) for key in part.get("environment", {})}
    return names | {name.removeprefix("AIRFLOW__") for name in texts if name.startswith("AIRFLOW__")}


def test_every_local_setting_is_declared_for_mwaa_or_has_its_reason():
    assert set_locally() - declared() - set(PER_MACHINE) == set()


def test_no_reason_is_left_of_a_setting_that_is_gone():
    gone = set(PER_MACHINE) - set_locally() - {"API__ENABLE_SWAGGER_UI"}
    assert gone == set()


def test_a_new_dag_runs_without_anybodys_hand():
    """Airflow pauses new DAGs by default, and so does MWAA."""
    from airflow.dag_processing.dagbag import DagBag

    assert "CORE__DAGS_ARE_PAUSED_AT_CREATION" not in set_locally()
    bag = DagBag(artifacts.ROOT / "dags", bundle_path=artifacts.ROOT / "dags")
    assert {dag.dag_id: dag.is_paused_upon_creation for dag in bag.dags.values()} == dict.fromkeys(bag.dags, False)
    assert len(bag.dags) >= 3
