"""The stages of a verification, in order: each does one part of what a deployment and a run do, and notes what it saw.

A stage that a kill has cut is played again from its beginning: each finds what it has made already.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from deploy import data_platform
from deploy.plan import render
from deploy.stacks import StackError, StackRequest, deploy_stack
from deploy.verification import removal, small_model
from deploy.verification.bench import Bench
from retraining.aws.clients import client
from retraining.aws.documents import get_json
from retraining.command.promote.playing import first_event
from retraining.contract.rules import Contract
from retraining.contract.verdict import MERGED, judge_file
from retraining.dag.triggers import NewDataTrigger
from retraining.dataset.crawl_note import crawl_note
from retraining.jobs.plan import RunPlan
from retraining.serving.promoting import system_tests
from retraining.settings.environment import queue_name
from retraining.settings.machines.image_uris import image_uri

BROKEN = """
  Broken:
    Type: AWS::Lambda::Url
    DependsOn: DataBucket
    Properties:
      AuthType: AWS_IAM
      TargetFunctionArn: there-is-no-such-function

Outputs:
"""
EVENT_SECONDS = 300
EVENTS = 2000
DENIED = ("AccessDenied", "AccessDeniedException", "Client.UnauthorizedOperation", "UnauthorizedOperation")
TIMER_SECONDS = 120
LATENCY_MS = 2000.0
SIZES = {6 * 1024 * 1024 - 1024: True, 6 * 1024 * 1024 + 1024: False}
"""Lengths of requests in bytes, and whether the service is expected to take them."""


@dataclass(frozen=True)
class Stage:
    """A stage: a word for the journal, a sentence for people, what it does, and whether tasks are played in it."""

    name: str
    does: str
    work: Callable[[Bench], None]
    plays: bool = False


def preflight(bench: Bench) -> None:
    """Ask the account for all that is needed, before anything is made."""
    said: list[str] = []
    project = bench.project
    project.say = said.append
    try:
        project.preflight()
        project.check_readiness()
    finally:
        project.say = bench.say
    unknown = [line for line in said if line.startswith("not checked")]
    if bench.asks("account"):
        bench.answer("account", not unknown, f"nothing is missing; {'; '.join(unknown) or 'everything was checked'}")
    if bench.asks("images"):
        bench.answer("images", *_images(bench))


def platform(bench: Bench) -> None:
    """Deploy everything but MWAA: first so that it fails half-way, then whole, then once more."""
    project, config = bench.project, bench.config
    whole = project.platform_request(config)
    if "repeated" not in bench.journal.found:
        bench.answer("repeated", *_failed_first(bench, whole))
    project.up()
    lines, changes = render(project.plan())
    bench.answer("unchanged", changes == 0, "; ".join(lines) if changes else f"{len(lines)} parts are up to date")
    if bench.asks("policies"):
        bench.answer("policies", *_policies(bench))


def guard(bench: Bench) -> None:
    """Make the timer, and the role in which tasks are played; see that it can be taken on."""
    bench.guard()
    bench.act_as_tasks()
    arn = client("sts", bench.config.aws).get_caller_identity()["Arn"]
    bench.answer("role", "TaskRole" in arn, f"acting as {arn.rpartition(':')[2]}")


def land(bench: Bench) -> None:
    """Let files land, and wait for what S3 says of them."""
    config = bench.config
    prefix = f"{config.name}/{config.landing.new}"
    if "claim_new_data" not in bench.journal.results:
        for name, body in small_model.files().items():
            bench.session.client("s3").put_object(Bucket=bench.bucket, Key=f"{prefix}{name}", Body=body)
    trigger = NewDataTrigger(queue_name(config.name), prefix, config.aws.model_dump())
    try:
        event = asyncio.run(asyncio.wait_for(first_event(trigger), EVENT_SECONDS))
    except TimeoutError:
        bench.answer("event", False, f"no message within {EVENT_SECONDS} s")
    else:
        bench.answer("event", True, f"the watcher was woken: {event}")
    bench.player.play("sense_new_data", "claim_new_data")


def crawl(bench: Bench) -> None:
    """Let the crawler look at the files; only of the plain one it is known what it has to see."""
    found = bench.player.play("crawl_data")
    told = crawl_note(bench.config.contract, found)
    odd = [note for note in told.get("notes", []) if small_model.FILE in note]
    bench.answer("crawl", bool(told.get("tables")) and not odd and "warning" not in told, str(found))


def merge(bench: Bench) -> None:
    """Merge the files with Glue, and hold what it says of each against what the plain reader says here."""
    bench.player.play("preprocess_data")
    dataset = bench.player.play("check_data_quality")
    s3 = bench.session.client("s3")
    manifest = get_json(s3, RunPlan.model_validate(bench.result("claim_new_data")).manifest_uri(bench.bucket))
    told = {entry["key"].rpartition("/")[2]: entry for entry in get_json(s3, manifest["report"])["files"]}
    expected = {name: _judged(bench, name, body) for name, body in small_model.files().items()}
    seen = {name: (entry["outcome"], entry["rows"], entry["quarantined"]) for name, entry in told.items()}
    bench.answer("files", seen == expected, f"{seen}" if seen == expected else f"{seen}, expected {expected}")
    rows = dataset["rows"]
    parts = rows["rows_accepted"] + rows["rows_quarantined"] + rows["rows_duplicate"]
    merged = sum(count for outcome, count, _ in expected.values() if outcome == MERGED)
    bench.answer("merge", parts == rows["rows_new"] == merged, str(rows))
    staged = [key for key in bench.stored(f"{bench.config.name}/dataset/staging/") if not key.endswith("/")]
    bench.answer("staging", not staged, ", ".join(staged) or "no file")


def train(bench: Bench) -> None:
    """Train the one candidate."""
    bench.player.play("list_candidates")
    [trained] = bench.player.play("training")
    uri = trained["model_data"]
    path = uri.removeprefix(f"s3://{bench.bucket}/")
    bench.answer("artifact", path == f"{bench.config.name}/models/{trained['name']}/output/model.tar.gz", path)
    described = bench.session.client("sagemaker").describe_training_job(TrainingJobName=trained["name"])
    metrics = {item["MetricName"]: item["Value"] for item in described.get("FinalMetricDataList", [])}
    bench.answer("metrics", set(metrics) == set(bench.config.training.metrics), str(metrics))


def evaluate(bench: Bench) -> None:
    """Score the test rows."""
    bench.player.play("score_champion", "evaluate_model")
    names = sorted(key.removeprefix(bench.run_prefix) for key in bench.stored(f"{bench.run_prefix}evaluation"))
    bench.answer("evaluation", "evaluation/smoke.json" in names, ", ".join(names))
    doubled = [key for key in bench.stored() if "//" in key]
    bench.answer("slashes", not doubled, ", ".join(doubled) or "none")


def judge(bench: Bench) -> None:
    """Let the Lambda function analyse the evaluation, and the gate decide."""
    analysis = bench.player.play("analyze_results")
    branch = bench.player.play("check_threshold")
    decision = bench.result("check_threshold/decision")
    bench.answer("analysis", branch == "approved", f"{analysis['challenger']}; {decision['decision']}")
    if branch != "approved":
        raise RuntimeError(
            f"the gate kept the model out, so there is nothing to bring into service: {decision['reason']}"
        )


def register(bench: Bench) -> None:
    """Register the model, twice."""
    first = bench.player.play("register_model")
    second = bench.player.again("register_model")
    bench.answer("package", first["arn"] == second["arn"], f"{first['arn']} and {second['arn']}")


def serve(bench: Bench) -> None:
    """Bring the model into service and verify it; the timer is set anew before."""
    bench.guard()
    bench.act_as_tasks()
    bench.player.play("deploy_model")
    verified = bench.player.play("verify_endpoint")
    bench.answer("service", bool(verified), f"{verified['endpoint']} answers {verified['smoke']['answer']}")


def ask(bench: Bench) -> None:
    """Send the endpoint what clients send, wrong requests too."""
    endpoint = str(bench.config.endpoint)
    smoke = bench.document("evaluation/smoke.json")
    runtime = client("sagemaker-runtime", bench.config.aws)
    results = system_tests.play(system_tests.Endpoint(runtime, endpoint), bench.config, smoke, LATENCY_MS)
    failed = [f"{result.test}: {result.seen}" for result in results if not result.passed]
    bench.answer("requests", not failed, "; ".join(failed) or f"{len(results)} tests passed")
    plain = runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=smoke["body"])
    bench.answer("accept", plain["ContentType"].startswith("application/json"), plain["ContentType"])
    bench.answer("longest", *_sizes(runtime, endpoint))


def report(bench: Bench) -> None:
    """Write report and message, and end the run as its DAG does."""
    summary = bench.player.play("publish_report")
    bench.player.play("stop_leftovers", "close_endpoint")
    key = str(summary["report"]).removeprefix(f"s3://{bench.bucket}/")
    bench.answer("message", key in bench.stored(bench.run_prefix), f"{summary['decision']}; {key}")


def timer(bench: Bench) -> None:
    """Set the timer to a moment from now, and see that it deletes the endpoint."""
    if not bench.asks("timer"):
        return
    bench.guard(TIMER_SECONDS)
    began = time.monotonic()
    while (waited := time.monotonic() - began) < 6 * TIMER_SECONDS:
        if not removal.endpoints(bench.estate):
            bench.answer("timer", True, f"the endpoint was gone after {waited:.0f} s")
            return
        time.sleep(15)
    bench.answer("timer", False, f"the endpoint stands {waited:.0f} s later")


def denied(bench: Bench) -> None:
    """Look for calls of the deployment's roles that were refused; CloudTrail tells of a call minutes later."""
    if not bench.asks("denied"):
        return
    trail, prefix, found = bench.session.client("cloudtrail"), f"/{bench.deployment.environment_name}-", []
    pages = trail.get_paginator("lookup_events").paginate(
        StartTime=datetime.fromisoformat(bench.journal.begun_at), PaginationConfig={"PageSize": 50, "MaxItems": EVENTS}
    )
    for event in (json.loads(item["CloudTrailEvent"]) for page in pages for item in page["Events"]):
        who = str(event.get("userIdentity", {}).get("arn"))
        if prefix in who and event.get("errorCode") in DENIED:
            found.append(f"{who.split('/')[1]}: {event.get('errorMessage') or event['eventName']}")
    bench.answer("denied", not found, "; ".join(sorted(set(found))) or "none so far")


STAGES = (
    Stage("preflight", "asks the account for what is needed", preflight),
    Stage("platform", "deploys everything but MWAA, after a first creation that fails", platform),
    Stage("guard", "makes the timer, and the role of the tasks", guard),
    Stage("land", "lets files land and hears of them", land, plays=True),
    Stage("crawl", "crawls them", crawl, plays=True),
    Stage("merge", "merges them with Glue", merge, plays=True),
    Stage("train", "trains a model", train, plays=True),
    Stage("evaluate", "evaluates it", evaluate, plays=True),
    Stage("judge", "judges it with Lambda and the gate", judge, plays=True),
    Stage("register", "registers it", register, plays=True),
    Stage("serve", "brings it into service and verifies it", serve, plays=True),
    Stage("ask", "asks the endpoint, wrongly too", ask, plays=True),
    Stage("report", "writes report and message", report, plays=True),
    Stage("timer", "lets the timer delete the endpoint", timer),
    Stage("denied", "looks for calls that were refused", denied),
)


def _judged(bench: Bench, name: str, body: bytes) -> tuple[str, int, int]:
    """Return what the plain reader says of a file: outcome, rows, and how many of them are quarantined."""
    contract = Contract.of(bench.config.contract.model_dump(mode="json"))
    split = bench.config.split.model_dump()
    verdict = judge_file(lambda: io.BytesIO(body), name, len(body), contract, split)
    return verdict.outcome, verdict.rows, verdict.quarantined


def _failed_first(bench: Bench, whole: StackRequest) -> tuple[bool, str]:
    """Create the platform's stack with a resource that fails; return whether that leaves its names free."""
    data_platform.ensure_artifacts_bucket(bench.session, bench.deployment.name)
    for part in data_platform.parts().values():
        data_platform.artifacts.upload(bench.session.client("s3"), bench.project.bucket, part)
    broken = StackRequest(whole.name, whole.template.replace("\nOutputs:\n", BROKEN), whole.parameters, whole.tags)
    try:
        deploy_stack(bench.session, broken, bench.say)
    except StackError as error:
        failed = str(error)
    else:
        raise RuntimeError("the stack with a resource that cannot be made was made")
    names = [item["Name"] for item in bench.session.client("s3").list_buckets()["Buckets"]]
    free = bench.bucket not in names
    return free, f"{failed.splitlines()[-1].strip()}; the bucket's name is {'free again' if free else 'still taken'}"


def _images(bench: Bench) -> tuple[bool, str]:
    """Look the images of the model up in their registries; some have to be asked for with the rights of this account."""
    config, seen, right = bench.config, [], True
    own = {candidate.container for candidate in config.training.candidates if candidate.container}
    for image in sorted({config.training.image, config.evaluation.image, config.deployment.image, *own}):
        uri = image_uri(image, bench.session.region_name)
        registry, _, name = uri.partition("/")
        repository, _, tag = name.partition(":")
        try:
            [found] = bench.session.client("ecr").describe_images(
                registryId=registry.split(".")[0], repositoryName=repository, imageIds=[{"imageTag": tag}]
            )["imageDetails"]
            seen.append(f"{name} is {found['imageDigest'][:19]}")
        except ClientError as error:
            right = False
            seen.append(f"{name}: {error}")
    return right, "; ".join(seen)


def _policies(bench: Bench) -> tuple[bool, str]:
    """Let Access Analyzer judge the policies of the DAGs."""
    iam, analyzer, found = bench.session.client("iam"), bench.session.client("accessanalyzer"), []
    for page in iam.get_paginator("list_policies").paginate(Scope="Local"):
        for item in page["Policies"]:
            if not item["PolicyName"].startswith(f"{bench.deployment.environment_name}-"):
                continue
            version = iam.get_policy_version(PolicyArn=item["Arn"], VersionId=item["DefaultVersionId"])
            judged = analyzer.validate_policy(
                policyDocument=json.dumps(version["PolicyVersion"]["Document"]), policyType="IDENTITY_POLICY"
            )
            found += [
                f"{item['PolicyName']}: {finding['issueCode']}"
                for finding in judged["findings"]
                if finding["findingType"] == "ERROR"
            ]
    return not found, "; ".join(found) or "no error"


def _sizes(runtime: Any, endpoint: str) -> tuple[bool, str]:
    """Send requests around the length that the service's model gives; what the model says to them does not matter."""
    seen = {}
    for size in SIZES:
        try:
            runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=b"x" * size)
            seen[size] = "taken"
        except ClientError as error:
            code = error.response["Error"]["Code"]
            seen[size] = "taken" if code == "ModelError" else f"refused: {code}"
    right = all((seen[size] == "taken") == taken for size, taken in SIZES.items())
    return right, "; ".join(f"{size} bytes {words}" for size, words in seen.items())
