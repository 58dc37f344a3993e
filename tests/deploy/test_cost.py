"""`make cost`: to the cent what docs/cost.md says, and another bill for another model, deployment or run."""

import json
import re
from decimal import Decimal

import pytest

from deploy import artifacts
from deploy.cost import __main__ as command
from deploy.cost import measured, prices
from deploy.cost.bill import Bill, Times, looks
from deploy.cost.items import rounded
from local_stack.verbs import calls
from retraining.settings.environment import platform_parameter
from retraining.settings.machines.deployment import Deployment
from retraining.settings.machines.http_api import HttpApi
from retraining.settings.model_config import load_model_config

PAGE = (artifacts.ROOT / "docs" / "cost.md").read_text()
CONFIG = load_model_config(artifacts.ROOT / "dags" / "models" / "abalone" / "model.yaml")
PROD = {"EnvironmentClass": "mw1.small", "Egress": "endpoints", "EndpointZones": "both"}


def changed(**sections):
    """Return the abalone model with other values in some sections."""
    return CONFIG.model_copy(
        update={name: getattr(CONFIG, name).model_copy(update=values) for name, values in sections.items()}
    )


def bill(config=CONFIG, environment=PROD, **more):
    return Bill(config, environment, prices.read(), **more)


def item(table, word):
    [found] = [item for item in table.items if word in item.what]
    return found


@pytest.fixture
def alone(monkeypatch):
    """No stack and no account."""

    def nothing():
        raise calls.CallError("nothing answers")

    monkeypatch.setattr(calls, "local_account_answers", nothing)
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def of_page():
    """Return the tables of the page as the JSON document has them: item, quantity, price and USD of each line, and the total."""
    tables = {}
    for name, rows in re.findall(r"<!-- make docs: (\w+) -->\n(.*?)<!-- end -->", PAGE, re.DOTALL):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows.strip().splitlines()[2:]]
        *items, total = lines
        tables[name] = (
            [
                (what.replace("`", ""), float(count), unit, float(price), float(usd))
                for what, count, unit, price, usd in items
            ],
            float(total[-1]),
        )
    return tables


def test_the_command_says_what_the_page_says(alone, capsys):
    assert command.main(["--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    page = of_page()
    assert set(page) == {*told["tables"], "nat", "api"}
    for name, table in told["tables"].items():
        assert ([tuple(item.values()) for item in table["items"]], table["total"]) == page[name], name
    assert (told["times"], told["measured"]) == ("assumed", None)


def test_a_model_with_an_api_has_the_table_of_its_requests(alone):
    with_api = bill(CONFIG.model_copy(update={"api": HttpApi(access="key")}))
    table = command.table_document(command.tables(with_api)["api"])
    assert ([tuple(item.values()) for item in table["items"]], table["total"]) == of_page()["api"]
    more = with_api.month().cost(item(with_api.month(), "HTTP API"))
    assert more == rounded(with_api.http_api().total, 2) > 0
    assert with_api.month().total == bill().month().total + more


def test_what_the_page_says_around_its_tables_is_true():
    idle, nat = bill().idle().total, bill().nat().total
    saved = {
        "`EndpointZones: one` saves": idle - bill(environment=PROD | {"EndpointZones": "one"}).idle().total,
        '`EcrEndpoints: "no"`': idle - bill(environment=PROD | {"EcrEndpoints": "no"}).idle().total,
    }
    for words, amount in saved.items():
        assert f"{words} {amount}" in PAGE
    endpoints = bill().idle().cost(item(bill().idle(), "Interface endpoints"))
    assert f"`Egress: nat` saves {endpoints - nat:.0f} a month" in PAGE
    assert bill(environment=PROD | {"Egress": "nat"}).idle().total == idle - endpoints + nat
    look, run = bill().look().total, bill().run().total
    assert f"Daily looks are {look * looks('@daily'):.2f} a month, hourly ones {look * looks('@hourly'):.2f}" in PAGE
    assert f"Daily runs: about {run * looks('@daily'):.0f} a month, one percent" in PAGE
    assert f"Without it a run costs {bill(changed(etl={'crawl': False})).run().total}:" in PAGE
    modes = {"instance, as above": {}, "serverless, 2048 MB": {"mode": "serverless"}, "none": {"mode": "none"}}
    for words, keys in modes.items():
        own = {"endpoint": "abalone"} if keys.get("mode") != "none" else {}
        used = bill(CONFIG.model_copy(update={"deployment": Deployment(image=CONFIG.deployment.image, **keys, **own)}))
        rest = sum(
            (used.idle().cost(line) for line in used.idle().items[2:] if "ndpoint" in line.what), Decimal("0.00")
        )
        [proof] = [used.run().cost(line) for line in used.run().items if re.match("Blue/green|Smoke", line.what)]
        asked = [used.month().cost(line) for line in used.month().items if "requests of" in line.what]
        more = f", and {asked[0]} for 10000 requests of 0.1 s" if asked else ""
        name, _, size = words.partition(",")
        assert f"| `{name}`{size and f',{size}'} | {rest}{more} | {proof} |" in PAGE
    fixed = sum((bill().idle().cost(item) for item in bill().idle().items[3:]), Decimal(0))
    assert f"+ {fixed}`" in PAGE
    assert f"of {prices.read().region} in US dollars" in PAGE
    assert f"as known in {prices.read().known}" in PAGE


@pytest.mark.parametrize(
    ("cron", "times"),
    [
        ("0 5 * * *", 365),
        ("20 * * * *", 8760),
        ("*/5 * * * *", 105_120),
        ("0 5 * * 1-5", 261),
        ("0,30 6-8 1 * *", 72),
        ("@weekly", 52),
        ("@monthly", 12),
    ],
)
def test_a_cron_expression_fires_so_often_in_a_year(cron, times):
    assert looks(cron) == Decimal(times) / 12


def test_the_bill_follows_the_model():
    training = {"instance_type": "ml.m5.2xlarge", "instance_count": 2}
    candidate = CONFIG.training.candidates[0]
    both = (candidate, candidate.model_copy(update={"name": "other"}))
    larger = bill(
        changed(
            training=training | {"candidates": both},
            etl={"worker_type": "G.2X", "number_of_workers": 5},
            deployment={"instance_type": "ml.m5.large", "instance_count": 3},
            monitor={"cron": "0 * * * *"},
            schedule={"cron": "0 0 * * 1"},
        )
    )
    run, month = larger.run(), larger.month()
    assert run.cost(item(run, "Training: 2 candidates, 2 x ml.m5.2xlarge")) == Decimal("0.092")  # 4 * 0.05 h * 0.461
    tuning = {"trials": 20, "ranges": {"algorithm": {"values": ["linear", "svr_hgb"]}}}
    searching = type(CONFIG.training).model_validate(CONFIG.training.model_dump() | training | {"tuning": tuning})
    run_with_search = bill(CONFIG.model_copy(update={"training": searching})).run()
    search = item(run_with_search, "Search: 20 trials, 2 x ml.m5.2xlarge")
    assert run_with_search.cost(search) == Decimal("0.922")  # 40 * 0.05 h * 0.461
    assert item(run, "Merge: 5 workers G.2X").quantity == Decimal("0.3333")  # 10 DPU for 2 minutes
    assert run.cost(item(run, "Blue/green: 3 more ml.m5.large")) == Decimal("0.086")
    assert larger.idle().cost(item(larger.idle(), "3 x ml.m5.large")) == Decimal("251.85")
    assert item(month, "Monitor").quantity == 730
    assert item(month, "Retraining").quantity == Decimal("4.3333")
    assert item(month, "Retraining").price == run.total
    assert month.total == sum(month.cost(item) for item in month.items)


def test_a_container_is_asked_in_jobs_of_its_own():
    own = {"name": "r", "container": "123456789012.dkr.ecr.us-east-1.amazonaws.com/oyster-r:1"}
    candidates = [item.model_dump() for item in CONFIG.training.candidates] + [own]
    training = type(CONFIG.training).model_validate(CONFIG.training.model_dump() | {"candidates": candidates})
    run = bill(CONFIG.model_copy(update={"training": training})).run()
    assert item(run, "Answers of containers: challenger and champion").quantity == Decimal("0.1333")  # 2 * 4 minutes
    assert not [line for line in bill(CONFIG).run().items if "containers" in str(line)]


def test_a_model_without_an_endpoint_pays_for_a_job_in_place_of_machines():
    files_only = bill(CONFIG.model_copy(update={"deployment": Deployment(mode="none", image=CONFIG.deployment.image)}))
    assert not [line for line in files_only.idle().items if "SageMaker endpoint" in line.what]
    assert bill().idle().total - files_only.idle().total == Decimal("44.18")  # 730 h * 0.056, 3 alarms, dashboard
    quiet = bill(platform={"Dashboard": "no"})
    assert bill().idle().total - quiet.idle().total == Decimal("3.00")
    run = files_only.run()
    assert not [line for line in run.items if "Blue/green" in line.what]
    assert run.cost(item(run, "Smoke job: ml.m5.large, 4 minutes")) == Decimal("0.008")
    assert [line.unit for line in files_only.month().items] == ["month", "run", "batch"]
    measured = bill(CONFIG.model_copy(update={"deployment": files_only.config.deployment}), times=Times(smoke=180))
    assert item(measured.run(), "Smoke job: ml.m5.large, 3 minutes").quantity == Decimal("0.05")


def serverless(**capacity):
    deployment = Deployment(
        mode="serverless", endpoint="abalone", image=CONFIG.deployment.image, serverless={"memory_mb": 3072, **capacity}
    )
    return bill(CONFIG.model_copy(update={"deployment": deployment}))


def test_a_serverless_endpoint_costs_while_it_answers():
    paid = serverless()
    assert not [line for line in paid.idle().items if "ndpoint, " in line.what]
    assert bill().idle().total - paid.idle().total == Decimal("40.88")
    run, month = paid.run(), paid.month()
    assert run.cost(item(run, "Smoke requests: 10 s at 3 GB")) == Decimal("0.001")  # 30 * 0.00002
    assert month.cost(item(month, "10000 requests of 0.1 s: 1000 s at 3 GB")) == Decimal("0.06")  # 3000 * 0.00002
    assert not [line for line in month.items if "Monitor" in line.what]
    kept = item(serverless(provisioned_concurrency=2).idle(), "2 x 3 GB provisioned")
    assert (kept.quantity, kept.unit, kept.price) == (Decimal(4380), "GB-hour", None)


def test_a_model_without_the_dags_pays_for_no_batch_and_no_monitor():
    assert [line.unit for line in bill(dags=frozenset()).month().items] == ["month", "run"]


def test_what_has_no_price_is_named_and_in_no_total(alone, monkeypatch, capsys):
    config = changed(training={"instance_type": "ml.p9.huge"}, etl={"worker_type": "Z.1X"})
    monkeypatch.setattr(command, "load_model_config", lambda path: config)
    assert command.main([]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for what in ("Training: ml.p9.huge, 3 minutes", "Merge: 2 workers Z.1X, 2 minutes"):
        assert f"no price is known for '{what}', so no total has it: deploy/cost/prices.yaml" in out
    assert "total without '?' 0.171" in out


def test_measured_seconds_take_the_place_of_assumed_ones_and_glue_bills_a_minute_at_least():
    run = bill(times=Times(merge=12.9, training=36, evaluation=90.5)).run()
    assert item(run, "Merge: 2 workers G.1X, 1 minute").quantity == Decimal("0.0333")
    assert item(run, "Training: ml.m5.large, 36 s").quantity == Decimal("0.01")
    assert item(run, "Evaluation: ml.m5.large, 90 s").quantity == Decimal("0.0251")


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_no_line_is_wider_than_a_small_terminal(alone, monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert command.main([]) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= min(100, max(60, columns))
    assert "Times are those that docs/cost.md assumes, for no stack runs on this machine." in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "abalon"], "did you mean abalone?"),
        (["--env", "pord"], "did you mean prod?"),
        (["--modle", "abalone"], "--help says what is possible"),
    ],
)
def test_a_wrong_call_is_one_line(alone, capsys, arguments, words):
    try:
        code = command.main(arguments)
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    assert (code, said.out, said.err.count("\n")) == (2, "", 1)
    assert words in said.err


def summary(key, **seconds):
    jobs = [{"step": step, "name": f"{step}-1", "seconds": value} for step, value in seconds.items()]
    return {"run_key": key, "created_at": f"2026-11-2{key[-1]}T05:00:00Z", "jobs": jobs}


@pytest.fixture(scope="module")
def with_runs(session):
    """An account in which runs of two deployments have left their summaries."""
    s3, ssm = session.client("s3"), session.client("ssm")
    s3.create_bucket(Bucket="runs")
    for model in ("abalone", "other"):
        name = platform_parameter(model, "cost")
        ssm.put_parameter(Name=name, Value=json.dumps({"bucket": "runs"}), Type="String")
    found = [
        {"run_key": "v0", "created_at": "2026-11-20"},  # of a release that wrote no seconds
        summary("v1", merge=60, training=100, evaluation=200),
        summary("v2", training=300, evaluation=100),
        summary("v3", merge=120, training=200, evaluation=None),
    ]
    for document in found:
        body = json.dumps(document)
        s3.put_object(Bucket="runs", Key=f"abalone/runs/{document['run_key']}/summary.json", Body=body)
        s3.put_object(Bucket="runs", Key=f"abalone/runs/{document['run_key']}/evaluation/summary.json", Body="{}")
    return session


@pytest.mark.local_aws
def test_the_last_runs_are_read_from_their_summaries(with_runs):
    runs = measured.last_runs(with_runs.client, "abalone", "cost")
    assert {run.key: dict(run.seconds) for run in runs} == {
        "v1": {"merge": 60, "training": 100, "evaluation": 200},
        "v2": {"training": 300, "evaluation": 100},
        "v3": {"merge": 120, "training": 200},
    }
    assert measured.Account("x", True, runs).times == Times(merge=90, training=200, evaluation=150)


@pytest.mark.local_aws
def test_seconds_of_a_local_account_are_shown_and_not_billed(with_runs, capsys, monkeypatch):
    monkeypatch.setenv("AIRFLOW__RETRAINING__ENVIRONMENT", "cost")
    monkeypatch.setenv("COLUMNS", "60")
    assert command.main([]) == 0
    out = capsys.readouterr().out
    assert re.search(r"v1 +2026-11-21 +60\.0 +100\.0 +200\.0\n", out)
    assert re.search(r"v3 +2026-11-23 +120\.0 +200\.0 +-\n", out)
    assert re.search(r"Merge: 2 workers.* 0\.0667 DPU-hour", out)
    assert (
        max(len(line) for line in out.splitlines() if "botocore" not in line) <= 60
    )  # Airflow's logging is on in tests
    told = " ".join(out.split())
    assert "the start of an instance, minutes, is billed too. Without it, with the medians" in told
    assert f"a run costs {bill(times=Times(90, 200, 150)).run().total} USD" in told


@pytest.mark.local_aws
def test_seconds_of_aws_are_billed(with_runs, capsys, monkeypatch):
    monkeypatch.setattr(measured, "_accounts", lambda *_: iter([("AWS", True, with_runs.client)]))
    monkeypatch.setattr(measured, "environment", lambda: "cost")
    assert command.main(["--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["times"] == "measured"
    assert told["tables"]["run"]["total"] == told["measured"]["usd_per_run"]
    assert "Training: ml.m5.large, 200 s" in [item["item"] for item in told["tables"]["run"]["items"]]


@pytest.mark.local_aws
def test_an_account_without_runs_says_so(with_runs):
    account, why = measured.ask("other", "cost", "us-east-1")
    assert account is None
    assert "has no run of other whose report names the seconds of its jobs" in why
    account, why = measured.ask("abalone", "nowhere", "us-east-1")
    assert account is None
    assert "ParameterNotFound" in why
