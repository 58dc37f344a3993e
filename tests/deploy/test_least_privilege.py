"""What each actor calls against what its policy allows: nothing is missing, and nothing is allowed without being called or having a reason.

The calls of the MWAA role are recorded while the retraining DAG's task bodies run against local_aws, where every job really executes,
and are completed by the operations that the library's source names. The account enforces the policies: the bodies sign in the role of the
DAGs, each job and function acts in its own. Jobs of SageMaker make no calls themselves: the service reads and writes, in their role,
what the recorded requests name.
"""

import copy
import importlib.util
import inspect
import json
import re
from types import SimpleNamespace

import boto3
import botocore.handlers
import cloudformation
import pytest
import yaml
from access import allowed_actions, allows, faults, statements, written_calls
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError
from local_account import Account, wait_for
from played_jobs import PLAYED, taken_away, without

from deploy import artifacts, data_platform, environment
from deploy.stacks import StackRequest, deploy_stack
from glue_scripts.merge.manifest import SourceFile
from glue_scripts.merge.storage import Storage
from local_aws.shared.access import ACCOUNT, Call, calls
from retraining.aws import clients as aws_clients
from retraining.dag.tasks.retraining import RetrainingTasks
from retraining.dag.triggers import NewDataTrigger
from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.plan import RunPlan
from retraining.jobs.remerge.rebuild import REBUILT
from retraining.jobs.tuning.request import trial_document, tuning_request
from retraining.serving import batch, monitoring
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import ModelConfig, load_model_config
from retraining.survey import job as survey_job

MODEL = artifacts.ROOT / "dags" / "models" / "abalone"
REASONS = yaml.safe_load((artifacts.ROOT / "tests" / "deploy" / "uncalled_actions.yaml").read_text())
ROLE, REGION = "arn:aws:iam::000000000000:role/of-a-job", "us-east-1"
NAMES = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "ModelName": "abalone",
    "EndpointName": "dev-abalone",
    "HasEndpoint": "yes",
    "JobRoleArns": ROLE,
    "ArtifactsBucket": "artifacts",
    "EnvironmentName": "dev",
    "DataBucketName": f"retraining-dev-abalone-{ACCOUNT}-{REGION}",
}
POLICIES = {
    name: statements(cloudformation.resolve(cloudformation.read(path)["Resources"][resource], NAMES))
    for name, path, resource in (
        ("data", environment.ACCESS_TEMPLATE, "DataAccess"),
        ("model", environment.ACCESS_TEMPLATE, "ModelAccess"),
        ("environment", environment.ENVIRONMENT_TEMPLATE, "ExecutionRole"),
        ("glue", data_platform.TEMPLATE, "GlueRole"),
        ("crawler", data_platform.TEMPLATE, "CrawlerRole"),
        ("train", data_platform.TEMPLATE, "TrainRole"),
        ("evaluate", data_platform.TEMPLATE, "EvaluateRole"),
        ("serve", data_platform.TEMPLATE, "ServeRole"),
        ("survey", data_platform.TEMPLATE, "SurveyRole"),
        ("experiment", data_platform.TEMPLATE, "ExperimentRole"),
        ("container", data_platform.TEMPLATE, "ContainerPolicy"),
        ("lambda", data_platform.TEMPLATE, "AnalyzeRole"),
    )
}
POLICIES["mwaa"] = POLICIES.pop("data") + POLICIES.pop("model")
#: What only a person's commands call, with that person's rights: see `python -m retraining.command.dataset`.
BY_HAND = ("dataset/object_versions.py", "jobs/remerge/erase.py")
CONTAINERS = ("train", "evaluate", "serve", "survey", "experiment")
ACTORS = ("mwaa", "environment", "glue", "crawler", "container", "train", "evaluate", "serve", "survey", "lambda")


class Recorder:
    """Every API call of botocore clients made while it is in place."""

    def __init__(self):
        self.made = []

    def __call__(self, params, model, **_):
        asked = copy.deepcopy({key: value for key, value in params.items() if key != "Body"})
        self.made.append((model.service_model.service_name, model.name, asked))

    def take(self):
        """Return what was recorded since the last take."""
        made, self.made = self.made, []
        return made


@pytest.fixture(scope="module")
def recorder():
    recorder = Recorder()
    hooks = [("provide-client-params", recorder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.handlers, "BUILTIN_HANDLERS", [*botocore.handlers.BUILTIN_HANDLERS, *hooks])
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        aws_clients.client.cache_clear()
        yield recorder
        aws_clients.client.cache_clear()


def run_job(kind, step, request):
    """Do what the operator and its trigger do."""
    job, access = JOB_KINDS[kind], AwsAccess()
    handle = job.submit(access, "abalone", step, request).handle
    status = wait_for(lambda: (s := job.poll(access, handle)).outcome != "running" and s, 600)
    job.log_tail(access, handle)
    assert status.outcome == "succeeded", (status, job.log_tail(access, handle))
    return {**job.result(access, handle), "adopted": False}


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """An account that refuses what policies do not allow."""
    with Account(tmp_path_factory.mktemp("enforcing") / "data", "--enforce-policies") as account:
        yield account


def role_of_dags(session, name, policies):
    """Make a role with inline policies, act in it, and return the temporary keys as environment variables."""
    iam = session.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    for title, document in policies.items():
        iam.put_role_policy(RoleName=name, PolicyName=title, PolicyDocument=json.dumps(document))
    keys = session.client("sts").assume_role(RoleArn=arn, RoleSessionName="dags")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        "AWS_SESSION_TOKEN": keys["SessionToken"],
    }


def access_policies(session, bucket):
    """Deploy what the DAGs may do, as `make deploy` does, and return the documents."""
    value = session.client("ssm").get_parameter(Name="/retraining/dev/abalone/platform")["Parameter"]["Value"]
    roles = ",".join(json.loads(value)[f"{purpose}_role_arn"] for purpose in environment.PURPOSES)
    parameters = {"EnvironmentName": "dev", "ModelName": "abalone", "DataBucketName": bucket}
    parameters |= {"EndpointName": "dev-abalone", "JobRoleArns": roles}
    deploy_stack(session, StackRequest("access", environment.ACCESS_TEMPLATE.read_text(), parameters), print)
    iam, documents = session.client("iam"), {}
    for policy in iam.list_policies(Scope="Local")["Policies"]:
        if policy["PolicyName"].startswith(("access-DataAccess", "access-ModelAccess")):
            version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])
            documents[policy["PolicyName"]] = version["PolicyVersion"]["Document"]
    assert len(documents) == 2
    return documents


@pytest.fixture(scope="module")
def recorded(session, recorder):
    """API calls of one run of the DAG, from landed file to published report: by actor where the actor can be told."""
    bucket = data_platform.deploy(session, "dev", "abalone", {"PollSeconds": "0.2", "SettleSeconds": "0"}, print)[1][
        "DataBucketName"
    ]
    data = (artifacts.ROOT / "data" / "abalone.csv").read_bytes()
    session.client("s3").put_object(Bucket=bucket, Key="abalone/new/abalone.csv", Body=data)
    documents = access_policies(session, bucket)
    recorder.take()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in role_of_dags(session, "retraining-dev-airflow", documents).items():
            patch.setenv(name, value)
        aws_clients.client.cache_clear()
        made = run_of_the_dag(recorder, bucket)
    aws_clients.client.cache_clear()
    return made


def search_request(steps, plan, manifests):
    """Return the request of a search with one trial, whose job.json is in S3; the abalone model itself searches nothing."""
    ranges = {"alpha": {"min": 0.1, "max": 10.0, "scale": "log"}}
    training = steps.config.training.model_dump() | {"tuning": {"trials": 1, "parallel": 1, "ranges": ranges}}
    training["candidates"] = [{"name": "ridge", "trainer": "linear"}]
    config = ModelConfig.model_validate(steps.config.model_dump() | {"training": training})
    run = RunPlan.model_validate({**plan, "searched": ["alpha"]})
    steps._tell_job(run, trial_document(config, run, config.training.candidates[0]))
    return tuning_request(config, steps.platform, run, config.training.candidates[0], manifests)


def run_of_the_dag(recorder, bucket):
    """Call the task bodies and run the jobs of one run, in the order of the DAG."""
    steps = RetrainingTasks(load_model_config(MODEL / "model.yaml"), MODEL)
    run = SimpleNamespace(dag_id="abalone_retraining", run_id="r1", clear_number=0)
    pushed = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}), task_id="training", log_url=None)
    known = {
        "params": {},
        "ti": ti,
        "dag_run": run,
        "context": {"params": {}, "ti": ti, "dag_run": run},
        "rejected": None,
        "answer": None,
    }

    def body(function, **more):
        """Call a task body with what it wants of the results so far, as the DAG does."""
        offered = {**known, **more}
        return function(**{name: offered[name] for name in inspect.signature(function).parameters if name in offered})

    watcher = NewDataTrigger("retraining-dev-abalone-new-data", "abalone/new/")
    assert watcher._receive() == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retraining.dag.triggers.HELD_SECONDS", 0)
        patch.setattr("retraining.dag.triggers.HIDDEN_SECONDS", 1)
        NewDataTrigger("retraining-dev-abalone-new-data", "abalone/new/")._receive()
    assert body(steps.look_for_work)[0]
    known["plan"] = plan = body(steps.claim_new_data)
    for _ in range(2):  # the second crawl clears the tables of the first
        known["crawled"] = run_job("glue_crawler", "crawl", body(steps.crawl_request))
    run_job("glue_job", "preprocess", body(steps.merge_request))
    known["dataset"] = body(steps.check_data_quality)
    training = body(steps.training_request, candidate="svr-hgb")
    known["trained"] = [{**run_job("training", "training", training), "candidate": "svr-hgb"}]
    run_job("tuning", "tune", search_request(steps, plan, known["dataset"]["manifests"]))
    known["evaluated"] = run_job("processing", "evaluate", body(steps.evaluation_request))
    known["analysis"] = body(steps.analyze_results)
    assert body(steps.check_threshold) == ["approved"]
    known["decision"] = pushed["decision"]
    known["package"] = known["registered"] = body(steps.register_model)
    body(steps.settle_endpoint)
    known["deployed"] = run_job("endpoint", "deploy", body(steps.deploy_request))
    known["verified"] = body(steps.verify_endpoint)
    steps.note_failure({"exception": ValueError("x"), "ti": ti, "dag_run": run})
    body(steps.publish_report)
    steps.stop_leftovers(run)
    body(RetrainingTasks(steps.config, MODEL).claim_new_data, params={"force_retrain": True})  # with a champion now
    assert JOB_KINDS["training"].submit(AwsAccess(), "abalone", "training", training).adopted
    return {"calls": recorder.take(), "bucket": bucket, "plan": plan, "steps": steps}


@pytest.fixture(scope="module")
def requests(recorder, recorded):
    """The API calls by actor: service, operation and parameters of each."""
    return {
        "mwaa": recorded["calls"],
        "glue": glue_requests(recorder, recorded),
        "lambda": lambda_requests(recorder, recorded),
        **{actor: [request_of(call) for call in sorted(found)] for actor, found in sagemaker_calls(recorded).items()},
    }


def request_of(call):
    """Return a request to S3 that asks for a call."""
    bucket, _, key = call.resource.removeprefix("arn:aws:s3:::").partition("/")
    return "s3", call.action.removeprefix("s3:"), {"Bucket": bucket, "Key": key}


@pytest.fixture(scope="module")
def made(recorded, requests):
    """IAM's view of the calls, by actor."""
    roles = {value for name, value in recorded["steps"].platform if name.endswith("_role_arn")}
    found = {actor: {call for asked in made for call in calls(*asked, REGION)} for actor, made in requests.items()}
    found["mwaa"] = {Call(call.action, ROLE) if call.resource in roles else call for call in found["mwaa"]}
    return found | {"environment": set(), "crawler": set(), "container": set()}


def module(path, name):
    spec = importlib.util.spec_from_file_location(name, artifacts.ROOT / path)
    loaded = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, name, loaded)
        spec.loader.exec_module(loaded)
    return loaded


def glue_requests(recorder, recorded):
    """Requests of the merge's own storage on this run's files."""
    boto3.setup_default_session()
    bucket = recorded["bucket"]
    uri = f"s3://{bucket}/abalone/batches/{recorded['plan']['batch']}"
    recorder.take()
    storage = Storage()
    manifest = json.loads(storage.read(f"{uri}/manifest.json"))
    [file] = manifest["files"]
    source = SourceFile(file["key"], f"s3://{bucket}/{file['key']}", file["size"], file["etag"], "survey")
    with storage.stream(source) as stream:
        stream.read(1)
    assert not storage.is_folder(source)
    storage.copy(source, f"s3://{bucket}/abalone/dataset/staging/batch=x/attempt=y/input/000000.txt")
    storage.confirm(source)
    folder = f"{manifest['output']}training/batch=x"
    for files in ({"split=train/part-00000.csv": b"1\n"}, {}):
        storage.replace_folder(folder, files)
    storage.write(manifest["report"], storage.read(manifest["report"]))
    return recorder.take()


def lambda_requests(recorder, recorded):
    """Requests of the analysis function on this run's rows."""
    function = module("lambda_functions/analyze_results/handler.py", "analyze_results_handler")
    boto3.setup_default_session()
    recorder.take()
    rows = f"s3://{recorded['bucket']}/abalone/runs/{recorded['plan']['run_key']}/evaluation/rows.csv"
    assert function.handler({"rows_uri": rows}, None)["n"] > 0
    return recorder.take()


def sagemaker_calls(recorded):
    """What SageMaker reads and writes for the requests of this run, of a survey, of a batch and of a look, by the role that it acts in."""
    requests = [
        params
        for _, operation, params in recorded["calls"]
        if operation in ("CreateTrainingJob", "CreateProcessingJob", "CreateModel", "CreateEndpointConfig")
    ]
    config, platform = recorded["steps"].config, recorded["steps"].platform
    root = f"s3://{platform.bucket}/abalone/"
    places = {
        "code": f"{root}code/survey-d/",
        "train": f"{root}dataset/manifests/m.json",
        "known": f"{root}dataset/manifests/k.json",
        "held-back": root + survey_job.HELD_BACK,
        "model": f"{root}survey/models/d/",
        "request": f"{root}survey/requests/d/",
        "output": f"{root}survey/runs/d/",
    }
    machines = survey_job.SurveyMachines()
    for method, cached in (("ctgan", False), ("ctgan", True), ("replay", False)):
        requests.append(survey_job.survey_request(config, platform, machines, method, places, cached))
    scorer = batch.Scorer(version="v1", package_arn="", model_data=f"{root}models/j/output/model.tar.gz", image="i")
    work = {"code": f"{root}code/d/", "job": f"{root}code/jobs/d/"}
    work |= {"files": f"{root}{batch.WORK}d/in/", "output": f"{root}{batch.WORK}d/out-d/"}
    requests.append(batch.batch_request(config, platform, scorer, work))
    look = {**work, "captured": f"{root}{monitoring.WORK}d/manifest.json", "output": f"{root}{monitoring.WORK}d/out/"}
    requests.append(monitoring.look_request(config, platform, scorer, look))
    purpose = {value: name.removesuffix("_role_arn") for name, value in platform if name.endswith("_role_arn")}
    assert len(purpose) == len(CONTAINERS)
    found = {name: set() for name in ("train", "evaluate", "serve", "survey")}
    for request in requests:
        role = purpose.get(request.get("RoleArn") or request.get("ExecutionRoleArn"), "serve")  # a config names no role
        for name, uri in _uris(request):
            written = name in ("S3OutputPath", "DestinationS3Uri", "Output")
            arn = "arn:aws:s3:::" + uri.removeprefix("s3://").rstrip("/")
            found[role].add(Call(f"s3:{'Put' if written else 'Get'}Object", arn if "." in arn[-8:] else f"{arn}/x"))
    return found


def _uris(value, name=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _uris(item, "Output" if key == "S3Output" or (name == "Output" and key == "S3Uri") else key)
    elif isinstance(value, list):
        for item in value:
            yield from _uris(item, name)
    elif isinstance(value, str) and value.startswith(("s3://", '"s3://')):
        yield name, value.strip('"')


def reasons(actor):
    return {**REASONS[actor].get("written", {}), **REASONS[actor].get("service", {})}


@pytest.mark.spark
@pytest.mark.local_aws
@pytest.mark.parametrize("actor", ACTORS)
def test_each_actor_may_do_what_it_does_and_nothing_else(made, actor):
    assert made[actor] or actor in ("environment", "crawler", "container")
    assert faults(POLICIES[actor], made[actor], reasons(actor)) == []


def test_every_operation_that_the_library_names_is_allowed_and_every_reason_is_about_one():
    library = artifacts.ROOT / "plugins" / "retraining"
    sources = (path for path in library.rglob("*.py") if path.relative_to(library).as_posix() not in BY_HAND)
    written = written_calls(sorted(sources))
    allowed = allowed_actions(POLICIES["mwaa"])
    assert written - allowed == set()
    unseen = set(REASONS["mwaa"]["service"])
    assert allowed - written == unseen | {"iam:PassRole"}  # asked by IAM for roles in other calls
    assert set(REASONS["mwaa"]["written"]) <= written


def key(path):
    return f"arn:aws:s3:::retraining-dev-abalone-{ACCOUNT}-{REGION}/abalone/{path}"


def test_an_experiment_reads_what_production_has_and_writes_experiments_only():
    assert allows(POLICIES["experiment"], Call("s3:PutObject", key("experiments/v1-0/evaluation/rows.csv")))
    assert allows(POLICIES["lambda"], Call("s3:GetObject", key("experiments/v1-0/evaluation/rows.csv")))
    assert allows(POLICIES["experiment"], Call("s3:GetObject", key("models/j/output/model.tar.gz")))
    for place in (
        "models/j/output/model.tar.gz",
        "runs/r/evaluation/rows.csv",
        "code/d/train.py",
        "dataset/log/000001.json",
        "captured/x",
    ):
        assert not allows(POLICIES["experiment"], Call("s3:PutObject", key(place))), place


def test_no_job_can_replace_what_another_purpose_trusts():
    """A container runs code of its model: who serves cannot write artifacts, who trains cannot judge, and nobody writes the data set."""
    writes = {
        "train": "models",
        "evaluate": "runs",
        "serve": "captured",
        "survey": "survey",
        "experiment": "experiments",
    }
    for actor in CONTAINERS:
        for folder in (*writes.values(), "dataset", "code", "new", "batches", "quarantine", "rollbacks"):
            may = allows(POLICIES[actor], Call("s3:PutObject", key(f"{folder}/x")))
            assert may == (folder == writes[actor]), (actor, folder)
        # Requests that people sent are read by the monitor alone, whose job runs in the role of evaluations.
        assert allows(POLICIES[actor], Call("s3:GetObject", key("captured/x"))) == (actor == "evaluate"), actor


@pytest.mark.parametrize(
    ("action", "resource", "reached"),
    [
        ("sagemaker:StopTrainingJob", f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/dev-abalone-site-x", True),
        ("sagemaker:StopTrainingJob", f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/dev-abalones-x", False),
        ("sagemaker:UpdateEndpoint", f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/dev-abalone-site", False),
        ("s3:GetObject", f"arn:aws:s3:::retraining-dev-abalone-site-{ACCOUNT}-{REGION}/abalone-site/new/x", False),
        ("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/retraining/dev/abalone-site/platform", False),
    ],
)
def test_how_far_the_rights_on_one_model_reach_into_another_whose_name_begins_with_its(action, resource, reached):
    assert allows(POLICIES["mwaa"], Call(action, resource)) == reached


def test_the_dags_hand_jobs_every_role_but_that_of_experiments():
    assert tuple(name for name in CONTAINERS if name != "experiment") == environment.PURPOSES


def test_the_batch_dag_may_read_what_is_to_be_scored_and_write_nothing_into_it():
    for place in (batch.WORK, batch.OUT):
        assert allows(POLICIES["mwaa"], Call("s3:PutObject", key(f"{place}x/scored.csv")))
    assert allows(POLICIES["mwaa"], Call("s3:GetObject", key(f"{batch.IN}x.csv")))
    for actor in ("mwaa", *CONTAINERS):
        assert not allows(POLICIES[actor], Call("s3:PutObject", key(f"{batch.IN}x.csv")))
        assert actor == "mwaa" or not allows(POLICIES[actor], Call("s3:PutObject", key(f"{batch.OUT}x/scored.csv")))


def test_the_merge_may_read_and_write_a_rebuilt_data_set():
    for place in ("batches/b/manifest.json", "dataset/data/batch=b/x", "quarantine/batch=b/x", "landed/v/new/a.csv"):
        for action in ("s3:GetObject", "s3:PutObject"):
            assert allows(POLICIES["glue"], Call(action, key(f"{REBUILT}{place}"))), (action, place)


def test_the_monitor_may_keep_what_it_found_and_its_job_reads_what_was_captured():
    for place in (monitoring.STATE, monitoring.INCIDENTS, monitoring.WORK):
        assert allows(POLICIES["mwaa"], Call("s3:PutObject", key(f"{place}x.json")))
    assert allows(POLICIES["mwaa"], Call("s3:PutObject", key(monitoring.PAGE)))
    assert allows(POLICIES["evaluate"], Call("s3:GetObject", key("captured/abalone/AllTraffic/x.jsonl")))
    for actor in CONTAINERS:
        for place in (monitoring.STATE, monitoring.INCIDENTS):
            assert not allows(POLICIES[actor], Call("s3:PutObject", key(f"{place}x.json")))


def one_less(actor):
    """Yield a policy without one action, for each action."""
    for place, statement in enumerate(POLICIES[actor]):
        for name in statement["Action"]:
            policy = copy.deepcopy(POLICIES[actor])
            policy[place]["Action"].remove(name)
            yield f"{actor}-{statement['Sid']}-{name}", policy, name


@pytest.mark.spark
@pytest.mark.local_aws
@pytest.mark.parametrize("actor", ACTORS)
def test_the_comparison_notices_any_action_that_is_removed(made, actor):
    for title, policy, name in one_less(actor):
        if name in allowed_actions(policy) and name not in {call.action for call in made[actor]}:
            continue  # another statement allows it for the service's own work
        found = faults(policy, made[actor], reasons(actor))
        assert any(name in fault for fault in found), title


@pytest.fixture(scope="module")
def role_with(session, account):
    """Give a role of its own to each policy; return its ARN and a way to ask in it. Its policy can be changed afterwards."""

    def role(name, document):
        keys = role_of_dags(session, name, {"all": document})
        acting = boto3.Session(*keys.values(), region_name=REGION)

        def ask(service, operation, params):
            client = acting.client(service, endpoint_url=account.url, config=Config(retries={"total_max_attempts": 1}))
            return getattr(client, xform_name(operation))(**params)

        return f"arn:aws:iam::{ACCOUNT}:role/{name}", ask

    return role


@pytest.mark.spark
@pytest.mark.local_aws
@pytest.mark.parametrize("actor", [actor for actor in ACTORS if actor not in ("environment", "crawler", "container")])
def test_without_any_one_action_the_account_refuses_with_role_action_and_resource(session, requests, role_with, actor):
    """Each request that the run made and that needs the action, sent again by a role whose policy lacks it."""
    arn, ask = role_with(f"less-{actor}", without(POLICIES[actor], ""))
    needed = {}
    for service, operation, params in requests[actor]:
        if not operation.startswith("Head"):  # an answer without a body, in which nothing can be said
            for call in calls(service, operation, params, REGION):
                needed.setdefault(call.action, (call, (service, operation, params)))
    assert needed
    for action, (call, (service, operation, params)) in needed.items():
        policy = json.dumps(without(POLICIES[actor], action)).replace(ROLE, "arn:aws:iam::*:role/*")
        session.client("iam").put_role_policy(RoleName=f"less-{actor}", PolicyName="all", PolicyDocument=policy)
        body = {"Body": b""} if operation == "InvokeEndpoint" else {}
        with pytest.raises(ClientError) as refused:
            ask(service, operation, params | body)
        said = f"User: {arn} is not authorized to perform: {action} on resource: {call.resource} "
        assert said in str(refused.value), (operation, params)


@pytest.mark.spark
@pytest.mark.local_aws
@pytest.mark.parametrize(
    ("actor", "action"),
    [
        ("train", "s3:GetObject"),
        ("train", "s3:PutObject"),
        ("evaluate", "s3:GetObject"),
        ("evaluate", "s3:PutObject"),
        ("serve", "s3:GetObject"),
        ("glue", "s3:PutObject"),
        ("lambda", "s3:GetObject"),
    ],
)
def test_a_job_whose_role_lacks_an_action_fails_and_says_role_action_and_resource(session, recorded, actor, action):
    stack = data_platform.stack_name("dev", "abalone")
    resource = "AnalyzeRole" if actor == "lambda" else f"{actor.title()}Role"
    found = session.client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId=resource)
    role = found["StackResourceDetail"]["PhysicalResourceId"]
    with taken_away(session, role, action):
        said = PLAYED[actor](session, recorded)
    who = rf"role/(\S+/)?{re.escape(role)}"
    assert re.search(rf"{who} is not authorized to perform: {action} on resource: arn:aws:s3:::", said), said


@pytest.mark.spark
@pytest.mark.local_aws
@pytest.mark.parametrize("actor", ACTORS)
def test_the_comparison_notices_a_needless_action(made, actor):
    policy = copy.deepcopy(POLICIES[actor])
    policy[0]["Action"].append("s3:PutBucketPolicy")
    assert faults(policy, made[actor], reasons(actor)) == ["needless: s3:PutBucketPolicy is allowed but never called"]


@pytest.mark.spark
@pytest.mark.local_aws
def test_the_comparison_notices_another_models_resource(made):
    policy = json.loads(json.dumps(POLICIES["mwaa"]).replace("retraining-dev-abalone", "retraining-other"))
    assert any(fault.startswith("refused: s3:GetObject") for fault in faults(policy, made["mwaa"], reasons("mwaa")))


def test_no_statement_of_any_actor_is_open_to_all_without_need():
    """Wildcard resources, by actor: each has its reason behind it in the template."""
    open_to_all = {
        (actor, statement["Sid"]) for actor in ACTORS for statement in POLICIES[actor] if "*" in statement["Resource"]
    }
    assert open_to_all == {
        ("mwaa", "List"),
        ("environment", "CheckThatTheAccountBlocksPublicAccess"),
        ("environment", "FindLogGroups"),
        ("environment", "PutAirflowMetrics"),
        ("glue", "PutGlueMetrics"),
        ("container", "PutSageMakerMetrics"),
        ("container", "LogInToRegistry"),
    }
