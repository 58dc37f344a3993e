"""``python -m deploy`` against a running local_aws: everything but MWAA itself."""

import shutil
from pathlib import Path

import pytest

from deploy import __main__ as command
from deploy import artifacts, data_platform, environment, preflight, settings, stacks, sync

PROD = settings.Deployment("prod", "us-east-1", platform={"PollSeconds": "1", "SettleSeconds": "2"})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A copy of what is deployed, so that a test can change it."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("dags", "plugins", "glue_scripts", "lambda_functions"):
        shutil.copytree(artifacts.ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "requirements").mkdir()
    shutil.copy(artifacts.ROOT / "requirements.txt", root)
    return root


@pytest.fixture(scope="module")
def lines():
    return []


@pytest.fixture(scope="module")
def project(session, root, lines):
    """The project; ``lines`` has what it said."""
    return environment.Project(session, PROD, lines.append, root, with_environment=False)


@pytest.fixture(scope="module")
def first(project):
    """Plan and outcome of the first deployment."""
    project.preflight()
    plan = list(project.plan())
    return plan, project.up()


def changes(plan):
    return [step.title for step in plan if step.difference.change != "none"]


def test_the_plan_of_an_empty_account_creates_everything_and_changes_nothing(session, project):
    plan = list(project.plan())
    assert {step.difference.change for step in plan} <= {"create", "update"}
    assert session.client("s3").list_buckets()["Buckets"] == []
    assert session.client("cloudformation").list_stacks()["StackSummaries"] == []


def test_the_first_deployment_does_what_the_plan_said(session, project, first):
    plan, changed = first
    assert changes(plan) == [step.title for step in plan]
    assert changed > len(plan)
    listed = session.client("s3").list_objects_v2(Bucket=project.bucket, Prefix="prod/")["Contents"]
    keys = [item["Key"] for item in listed]
    assert {"prod/dags/abalone_retraining.py", "prod/plugins.zip", "prod/requirements.txt"} <= set(keys)
    assert not [key for key in keys if "__pycache__" in key]


def test_files_behind_a_symbolic_link_are_deployed(project, first):
    assert any(name.startswith("survey/") for name in sync.folder_files(artifacts.ROOT / "dags"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dags/models", "outside of the repository: it is not uploaded"),
        ("dags/notes.txt", "outside of the repository: it is not uploaded"),
        ("dags/.env", "holds secrets: it is not uploaded"),
        ("dags/a/deploy.PEM", "holds secrets: it is not uploaded"),
    ],
)
def test_a_link_out_of_the_repository_and_a_file_of_secrets_are_not_uploaded(tmp_path, name, words):
    home, root = tmp_path / "home", tmp_path / "repository"
    for folder in (home, root / "dags" / "a", root / "shared"):
        folder.mkdir(parents=True)
    (home / "token").write_text("SECRET")
    (root / "shared" / "code.py").write_text("A = 1")
    (root / "dags" / "shared").symlink_to("../shared")
    assert sync.folder_files(root / "dags") == {"shared/code.py": b"A = 1"}
    if "repository" in words:
        (root / name).symlink_to(home if name == "dags/models" else home / "token")
    else:
        (root / name).write_text("SECRET")
    with pytest.raises(preflight.PreflightError, match=words) as refused:
        sync.folder_files(root / "dags")
    assert "SECRET" not in str(refused.value)


def test_the_second_deployment_changes_nothing(project, first):
    assert changes(project.plan()) == []
    assert project.up() == 0


def test_a_changed_dag_file_uploads_one_object_and_a_removed_one_is_deleted(project, root, first, lines):
    dag, extra = root / "dags" / "abalone_retraining.py", root / "dags" / "extra.py"
    original = dag.read_bytes()
    dag.write_bytes(original + b"# changed\n")
    assert project.sync_dags() == 1
    assert lines[-1].startswith("dags/: 1 uploaded, 0 deleted")
    dag.write_bytes(original)
    extra.write_text("A = 1\n")
    assert project.sync_dags() == 2
    extra.unlink()
    plan = project.dags()
    assert (dict(plan.upload), plan.delete) == ({}, ("prod/dags/extra.py",))
    assert project.sync_dags() == 1
    assert project.sync_dags() == 0


def test_only_a_changed_library_makes_a_new_version_of_plugins(session, project, root, first):
    s3, module = session.client("s3"), root / "plugins" / "retraining" / "aws" / "naming.py"
    before = s3.head_object(Bucket=project.bucket, Key="prod/plugins.zip")["VersionId"]
    project.up()
    assert s3.head_object(Bucket=project.bucket, Key="prod/plugins.zip")["VersionId"] == before
    original = module.read_bytes()
    module.write_bytes(original + b"# changed\n")
    assert changes(project.plan()) == ["plugins.zip"]
    assert project.up() == 1
    assert s3.head_object(Bucket=project.bucket, Key="prod/plugins.zip")["VersionId"] != before
    module.write_bytes(original)
    assert project.up() == 1


def test_plugins_are_the_same_bytes_twice_wherever_and_whenever_they_lie(project, root, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(root / "plugins", copy, copy_function=shutil.copy)
    one = artifacts.deterministic_zip(sync.folder_files(root / "plugins"))
    assert one == artifacts.deterministic_zip(sync.folder_files(copy))
    (copy / "retraining" / "aws" / "naming.py").write_text("")
    assert one != artifacts.deterministic_zip(sync.folder_files(copy))


def test_the_plan_names_what_differs_in_a_stack(session, project, root, first):
    other = environment.Project(
        session, settings.Deployment("prod", "us-east-1", platform={"PollSeconds": "7"}), print, root, False
    )
    [step] = [step for step in other.plan() if step.difference.change != "none"]
    assert (step.title, step.difference.lines) == ("stack retraining-prod-abalone", ("PollSeconds: 1 -> 7",))
    request = data_platform.request(session, "prod", "abalone", PROD.platform, root)
    changed = stacks.StackRequest(request.name, request.template + "# end\n", request.parameters)
    assert "+# end" in stacks.compare(session, changed).lines


def test_the_artifacts_bucket_is_versioned_closed_and_for_tls_only(session, project, first):
    s3 = session.client("s3")
    assert s3.get_bucket_versioning(Bucket=project.bucket)["Status"] == "Enabled"
    assert set(s3.get_public_access_block(Bucket=project.bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    assert "aws:SecureTransport" in s3.get_bucket_policy(Bucket=project.bucket)["Policy"]


def test_other_accounts_are_refused(session):
    elsewhere = settings.Deployment("prod", "us-east-1", account="123456789012")
    with pytest.raises(preflight.PreflightError, match="credentials are of account 000000000000"):
        preflight.check_caller(session, elsewhere)


def test_a_bucket_without_its_stack_is_noticed_before_anything_is_changed(session):
    session.client("s3").create_bucket(Bucket="retraining-prod-orphan-000000000000-us-east-1")
    with pytest.raises(preflight.PreflightError, match="exists, but stack retraining-prod-orphan does not"):
        preflight.check_orphan(session, "prod", "orphan")
    preflight.check_orphan(session, "prod", "nobody")


def test_no_credentials_is_said_before_anything_is_changed(monkeypatch, tmp_path, capsys):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert command.main(["up", "--env", "prod"]) == 2
    assert "AWS does not accept the credentials" in capsys.readouterr().err


def test_a_shell_that_talks_to_the_local_stack_deploys_nothing(monkeypatch, capsys):
    monkeypatch.setattr(command.boto3, "Session", lambda **_: pytest.fail("AWS was asked"))
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        assert command.main(["up", "--env", "prod", "--plan"], environment={name: "http://127.0.0.1:4566"}) == 2
        said = capsys.readouterr().err
        assert f"this shell talks to http://127.0.0.1:4566 ({name}), not to AWS" in said
        assert "Open another shell" in said


def test_an_unknown_deployment_names_the_known_ones(capsys):
    assert command.main(["up", "--env", "nowhere"]) == 2
    assert "known: dev, prod, staging" in capsys.readouterr().err


def test_the_command_line_plans_deploys_and_is_then_up_to_date(session, first, capsys):
    assert command.main(["up", "--env", "prod", "--skip-environment", "--plan"], environment={}) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert command.main(["up", "--env", "prod", "--skip-environment"], environment={}) == 0
    capsys.readouterr()
    assert command.main(["up", "--env", "prod", "--skip-environment"], environment={}) == 0
    assert capsys.readouterr().out.endswith("done: everything was up to date\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("account: 1", "twelve digits"),
        ("{}", "region is missing"),
        ("region: us-east-1\nregoin: x", "unknown key.*regoin"),
    ],
)
def test_a_wrong_deployment_file_is_refused(tmp_path, text, reason):
    (tmp_path / "x.yaml").write_text(f"{'' if text == '{}' or 'region' in text else 'region: us-east-1'}\n{text}")
    with pytest.raises(settings.SettingsError, match=reason):
        settings.load("x", tmp_path)


def test_destroy_needs_the_name_deletes_the_logs_and_keeps_the_data(session, project, first, capsys):
    assert command.main(["destroy", "--env", "prod", "--skip-environment"], ask=lambda _: "yes", environment={}) == 2
    name = "retraining-prod-abalone-access"
    assert stacks.describe(session, name)
    logs = session.client("logs")
    for group in ("airflow-retraining-prod-Task", "airflow-retraining-production-Task"):
        logs.create_log_group(logGroupName=group)
    assert command.main(["destroy", "--env", "prod"], ask=lambda _: "prod", environment={}) == 0
    said = capsys.readouterr().out
    left = [group["logGroupName"] for group in logs.describe_log_groups(logGroupNamePrefix="airflow-")["logGroups"]]
    assert left == ["airflow-retraining-production-Task"], "the environment's key goes, and with it what its logs say"
    assert (
        "kept: stack retraining-prod-abalone with the data in s3://retraining-prod-abalone-000000000000-us-east-1"
        in said
    )
    assert stacks.describe(session, name) is None
    session.client("s3").head_bucket(Bucket="retraining-prod-abalone-000000000000-us-east-1")
    assert stacks.describe(session, "retraining-prod-abalone")
    assert Path(environment.ACCESS_TEMPLATE).exists()
