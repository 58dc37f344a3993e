"""A stage for a browser: Airflow's own API server with the page, over a real local_aws with a long history and a served endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from local_account import BUCKET as MODELS_BUCKET
from local_account import ENVIRONMENTS, Account, free_port
from page_site import BUCKET, PLATFORM, fill

from retraining.dataset.log import DatasetLog
from retraining.dataset.records import FileRecord, Version
from retraining.serving import registry

ROOT = Path(__file__).resolve().parents[2]
VERSIONS, QUARANTINED = 30, 20_000
LONG_BATCH = f"{VERSIONS:016x}"
ANSWERING = """
import json

def model_fn(folder): return None
def input_fn(body, kind): return json.loads(body)["instances"]
def predict_fn(rows, model): return [9.5 for _ in rows]
def output_fn(answer, accept): return json.dumps({"predictions": answer}), "application/json"
"""


class Stage:
    """The API server below a folder, and people who may log in: ``admin`` and ``viewer``, each with the own name as password."""

    def __init__(self, folder: Path, account: Account) -> None:
        self.folder, self.account = folder, account
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Fill the account, and start the API server."""
        fill_history(self.account)
        (self.folder / "passwords.json").write_text(json.dumps({"admin": "admin", "viewer": "viewer"}))
        settings = {
            "CORE__PLUGINS_FOLDER": ROOT / "plugins",
            "CORE__DAGS_FOLDER": ROOT / "dags",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__AUTH_MANAGER": "local_stack.auth_manager.LocalAuthManager",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.folder / "passwords.json",
            "API__HOST": "127.0.0.1",
            "API__PORT": self.url.rsplit(":", 1)[1],
            "API__BASE_URL": self.url,
            "API__WORKERS": 1,
            "API__SECRET_KEY": "s" * 40,
            "API_AUTH__JWT_SECRET": "k" * 64,
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.folder / 'airflow.db'}",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "AWS_"))}
        environment = {
            **inherited,
            **self.account.variables,
            "AIRFLOW_HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            **{f"AIRFLOW__{name}": str(value) for name, value in settings.items()},
        }
        airflow = [ENVIRONMENTS / "airflow" / "bin" / "python", "-m", "airflow"]
        for arguments in (["db", "migrate"], ["dags", "reserialize"]):
            done = subprocess.run([*airflow, *arguments], env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        with (self.folder / "api-server.log").open("wb") as log:
            self._process = subprocess.Popen([*airflow, "api-server"], env=environment, stdout=log, stderr=log)
        ends = time.monotonic() + 400
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < ends, self._log()
            time.sleep(0.5)

    def stop(self) -> None:
        """End the API server."""
        if self._process:
            self._process.terminate()
            self._process.wait(timeout=300)

    def token(self, person: str) -> str:
        """Log in."""
        body = json.dumps({"username": person, "password": person}).encode()
        request = urllib.request.Request(f"{self.url}/auth/token", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(json.load(answer)["access_token"])

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v2/version", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _log(self) -> str:
        return (self.folder / "api-server.log").read_text(errors="replace")[-3000:]


def fill_history(account: Account) -> None:
    """Make a model with many versions, judged runs, a long quarantine, approved packages, and an endpoint."""
    s3 = account.s3
    for bucket in (BUCKET, MODELS_BUCKET):
        s3.create_bucket(Bucket=bucket)
    account.ssm.put_parameter(Name="/retraining/dev/abalone/platform", Value=json.dumps(PLATFORM), Type="String")
    fill(s3)
    log, champion = DatasetLog(s3, BUCKET, "abalone/"), 2.45
    for number in range(2, VERSIONS + 1):
        run, rows = f"v{number}-{number:012x}", 80 + number * 7 % 300
        bad = QUARANTINED if number == VERSIONS else number % 9
        log.commit(_version(number, run, rows, bad))
        challenger = champion + (number * 13 % 17 - 9) / 200
        better = challenger < champion
        _summary(s3, run, number, challenger, champion, better)
        champion = min(champion, challenger)
    _long_quarantine(s3)
    account.model("abalone", ANSWERING)
    container = account.sagemaker.describe_model(ModelName="abalone")["PrimaryContainer"]
    for number, data in ((5, "s3://elsewhere/5.tar.gz"), (9, container["ModelDataUrl"])):
        lineage = {"run_key": f"v{number}-{number:012x}", "dataset_version": str(number)}
        own = {**container, "ModelDataUrl": data}
        registry.register(account.sagemaker, "abalone", own, registry.APPROVED, "s3://x/y.json", "better", lineage)
    account.sagemaker.create_endpoint(EndpointName="dev-abalone", EndpointConfigName="abalone")
    account.endpoint_settled("dev-abalone")


def _version(number: int, run: str, rows: int, bad: int) -> Version:
    file = FileRecord(key=f"abalone/new/survey-{number}.csv", etag=str(number), size=rows * 40)
    return Version(
        version=number,
        batch=f"{number:016x}",
        created_at=f"2026-02-{1 + number % 28:02d}T05:00:00+00:00",
        files=(file,),
        rows={"rows_new": rows + bad, "rows_accepted": rows, "rows_duplicate": 0, "rows_quarantined": bad},
        rows_by_split={"train": rows - 20, "validation": 5, "test": 15},
        training={},
        run_key=run,
    )


def _summary(s3: Any, run: str, number: int, challenger: float, champion: float, better: bool) -> None:
    difference = (challenger - champion) * 4
    document = {
        "run_key": run,
        "created_at": f"2026-02-{1 + number % 28:02d}T05:0{number % 10}:00+00:00",
        "dataset_version": number,
        "rows_accepted": 100,
        "rows_quarantined": number % 9,
        "rows_by_split": {"train": 2000 + 100 * number},
        "metric": "rmse",
        "score_challenger": challenger,
        "score_champion": champion,
        "decision": "approved" if better else "rejected",
        "reason": f"RMSE {challenger:.4f} against {champion:.4f}",
        "endpoint_config": "c" if better else None,
        "numbers": {"n": 400, "difference": difference, "standard_error": 0.1, "odds": 3.0, "required_odds": 0.5},
    }
    s3.put_object(Bucket=BUCKET, Key=f"abalone/runs/{run}/summary.json", Body=json.dumps(document).encode())
    page = (
        "<!doctype html><title>Report</title><h1>Report of the run</h1><script>parent.document.title = 'taken'</script>"
    )
    s3.put_object(Bucket=BUCKET, Key=f"abalone/runs/{run}/report.html", Body=page.encode())


def _long_quarantine(s3: Any) -> None:
    hostile = [
        "<script>document.title='taken'</script>",
        "<svg onload=alert(1)>",
        "</textarea><img src=x onerror=alert(2)>",
    ]
    hostile += ["{{7*7}}", "javascript:alert(3)", "\u202egnp", "\x1b[2J", "x" * 4096, "\ud800"]
    file = f"abalone/new/survey-{VERSIONS}.csv"
    lines = [
        json.dumps(
            {"file": file, "line": at, "column": "length", "value": hostile[at % 9], "raw": hostile[(at + 1) % 9]}
            | {"reason": "length: not a number", "reasons": ["length: not a number"]}
        )
        for at in range(1, QUARANTINED + 1)
    ]
    s3.put_object(
        Bucket=BUCKET, Key=f"abalone/quarantine/batch={LONG_BATCH}/part-0.json", Body="\n".join(lines).encode()
    )
    report = {
        "rows_new": QUARANTINED + 100,
        "rows_quarantined": QUARANTINED,
        "reasons": {"length: not a number": QUARANTINED},
        "files": [{"key": file, "rows": QUARANTINED, "accepted": 100, "duplicate": 0, "quarantined": QUARANTINED}],
    }
    s3.put_object(Bucket=BUCKET, Key=f"abalone/batches/{LONG_BATCH}/etl_report.json", Body=json.dumps(report).encode())
