"""The API's stack on local_aws: its functions really run, keys let in, and what is not asked for any more goes."""

import hashlib
import json
from datetime import UTC, date, datetime, timedelta

import boto3
import pytest
import yaml
from asked_api import ROOT, ROW, SCALE, SETTINGS

from deploy import api_keys, data_platform, plan, prediction_api, settings, stacks
from deploy.environment import Project, Step
from lambda_functions.prediction_api import authorizer
from retraining.settings.model_config import ConfigError, ModelConfig, load_model_config

PROD = settings.Deployment("prod", "us-east-1", platform={"LogRetentionDays": "30"})
TODAY = datetime.now(UTC).date()
PATH = api_keys.path_of("prod", "abalone")
NAME = "retraining-prod-abalone-api"


class Functions(yaml.SafeLoader):
    """Reads the short forms of CloudFormation's functions as texts or as they stand."""


Functions.add_multi_constructor(
    "!",
    lambda loader, suffix, node: (
        f"{suffix} {loader.construct_scalar(node)}"
        if isinstance(node, yaml.ScalarNode)
        else loader.construct_sequence(node, deep=True)
    ),
)
TEMPLATE = yaml.load(prediction_api.TEMPLATE.read_text(), Functions)
RESOURCES = TEMPLATE["Resources"]


def model(**api):
    return ModelConfig.model_validate({**SETTINGS, **({"api": api} if api else {})})


@pytest.fixture(scope="module")
def session(account):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_ENDPOINT_URL", account.url)
        session = boto3.Session(region_name="us-east-1")
        data_platform.ensure_artifacts_bucket(session, "prod")
        yield session


def api_of(session, said=None, **api):
    return prediction_api.HttpApi(session, PROD, model(**api), (said if said is not None else []).append)


@pytest.fixture(scope="module")
def deployed(session):
    """Return how many parts the first and the second deployment of an API with keys and a site changed."""
    api = api_of(session, access="key", site=True)
    return api.up(), api.up()


def invoked(session, name, event):
    answer = session.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
    document = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, document
    return document


def predicted(session, body):
    event = {
        "rawPath": "/predictions",
        "requestContext": {"http": {"method": "POST"}, "requestId": "r-1"},
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body),
    }
    answer = invoked(session, NAME, event)
    return answer["statusCode"], json.loads(answer["body"])


@pytest.mark.local_aws
def test_the_function_asks_the_endpoint_of_its_deployment(session, account, deployed):
    assert deployed == (7, 0)
    status, body = predicted(session, {"rows": [ROW]})
    assert (status, body["error"]["code"]) == (503, "no_model")
    account.model("scale", SCALE)
    account.sagemaker.create_endpoint(EndpointName="prod-abalone", EndpointConfigName="scale")
    assert account.endpoint_settled("prod-abalone")["EndpointStatus"] == "InService"
    status, body = predicted(session, {"rows": [ROW]})
    assert status == 200, body
    assert body["predictions"][0]["words"]["text"] == "about 7.5 years old"
    assert predicted(session, {"rows": [{**ROW, "sex": "X"}]})[0] == 422
    event = {"rawPath": "/openapi.json", "requestContext": {"http": {"method": "GET"}}}
    assert "key" in json.loads(invoked(session, NAME, event)["body"])["components"]["securitySchemes"]


@pytest.mark.local_aws
def test_a_key_lets_in_until_it_ends_or_is_revoked(session, deployed):
    ssm = session.client("ssm")
    key = api_keys.make(ssm, PATH, "shop", 30, TODAY)
    entry = json.loads(ssm.get_parameter(Name=f"{PATH}/shop")["Parameter"]["Value"])
    assert key not in json.dumps(entry) and len(key) >= 43
    assert entry == {"sha256": hashlib.sha256(key.encode()).hexdigest(), "expires": f"{TODAY + timedelta(days=30)}"}
    answer = invoked(session, f"{NAME}-keys", {"headers": {"X-Api-Key": key}})
    assert answer == {"isAuthorized": True, "context": {"key": "shop"}}
    for headers in (
        {"x-api-key": key + "x"},
        {"x-api-key": ""},
        {},
        {"x-api-key": entry["sha256"]},
        {"x-api-key": "\ud800"},
    ):
        assert invoked(session, f"{NAME}-keys", {"headers": headers})["isAuthorized"] is False
    with pytest.raises(api_keys.KeyProblemError, match="there is a key 'shop'"):
        api_keys.make(ssm, PATH, "shop", 30, TODAY)
    second = api_keys.make(ssm, PATH, "shop-2", 1, TODAY)
    assert api_keys.listed(ssm, PATH) == {"shop": TODAY + timedelta(days=30), "shop-2": TODAY + timedelta(days=1)}
    keys = authorizer.Keys(ssm, PATH)
    assert [keys.name_of(key, TODAY), keys.name_of(second, TODAY)] == ["shop", "shop-2"], (
        "one is replaced without a gap"
    )
    assert keys.name_of(second, TODAY + timedelta(days=1)) == "shop-2"
    assert keys.name_of(second, TODAY + timedelta(days=2)) is None
    api_keys.revoke(ssm, PATH, "shop")
    assert authorizer.Keys(ssm, PATH).name_of(key, TODAY) is None
    with pytest.raises(api_keys.KeyProblemError, match=r"there is no key 'shop' \(known: shop-2\)"):
        api_keys.revoke(ssm, PATH, "shop")


def test_a_revoked_key_is_forgotten_within_the_promised_time(monkeypatch):
    class Ssm:
        pages = ({"Parameters": [{"Name": "/x/shop", "Value": json.dumps({"sha256": "", "expires": "2999-01-01"})}]},)

        def get_paginator(self, _):
            return self

        def paginate(self, Path):
            return self.pages

    ssm, now = Ssm(), [100.0]
    digest = hashlib.sha256(b"k").hexdigest()
    ssm.pages[0]["Parameters"][0]["Value"] = json.dumps({"sha256": digest, "expires": "2999-01-01"})
    monkeypatch.setattr(authorizer.time, "monotonic", lambda: now[0])
    keys = authorizer.Keys(ssm, "/x")
    assert keys.name_of("k", date(2026, 1, 1)) == "shop"
    ssm.pages = ()
    assert keys.name_of("k", date(2026, 1, 1)) == "shop"
    now[0] += authorizer.KNOWN_SECONDS
    assert keys.name_of("k", date(2026, 1, 1)) is None
    ttl = RESOURCES["Authorizer"]["Properties"]["AuthorizerResultTtlInSeconds"]
    assert ttl + authorizer.KNOWN_SECONDS <= 120, "what `make api-key REVOKE=1` says"


@pytest.mark.parametrize(
    ("name", "days", "reason"), [("Shop", 1, "is no name"), ("a/b", 1, "is no name"), ("a", 0, "DAYS=0")]
)
def test_a_key_that_cannot_be_is_refused(name, days, reason):
    with pytest.raises(api_keys.KeyProblemError, match=reason):
        api_keys.make(None, PATH, name, days, TODAY)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (["--env", "prod", "--model", "abalone"], "the API of abalone has no keys: write api: {access: key}"),
        (["--env", "prod", "--model", "nobody"], "there is no model 'nobody'; there is abalone"),
        (["--env", "nowhere", "--model", "abalone"], "known: dev, prod, staging"),
    ],
)
def test_the_command_refuses_in_one_line(call, reason, capsys):
    assert api_keys.main(call, environment={}) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.local_aws
def test_the_site_goes_and_the_stack_goes_when_nobody_asks_for_them(session, deployed):
    s3, said = session.client("s3"), []
    bucket = stacks.outputs(session, "prediction-api-prod-abalone")["SiteBucket"]
    kinds = {
        item["Key"]: s3.head_object(Bucket=bucket, Key=item["Key"])["ContentType"]
        for item in s3.list_objects_v2(Bucket=bucket)["Contents"]
    }
    assert kinds == {
        "index.html": "text/html; charset=utf-8",
        "form.js": "text/javascript",
        "dom.js": "text/javascript",
        "explanation.js": "text/javascript",
        "page.css": "text/css",
        "icon.svg": "image/svg+xml",
    }
    assert api_of(session, access="key").up() == 1
    assert "SiteBucket" not in stacks.outputs(session, "prediction-api-prod-abalone")
    assert bucket not in [item["Name"] for item in s3.list_buckets()["Buckets"]]
    [(title, difference)] = api_of(session).plan()
    lines, changes = plan.render([Step(title, difference)])
    assert (lines[0], changes) == ("- stack prediction-api-prod-abalone would be deleted", 1)
    assert api_of(session, said).up() == 1
    assert said[-1] == "stack prediction-api-prod-abalone: deleted, for model.yaml has no section api any more"
    assert list(api_of(session).plan()) == [] and api_of(session).up() == 0


@pytest.mark.local_aws
def test_a_deployment_plans_and_deploys_it_with_the_rest(session):
    project = Project(session, PROD, lambda line: None, with_environment=False, chosen=[model(access="iam")])
    titles = [step.title for step in project.plan()]
    assert "stack prediction-api-prod-abalone" in titles
    project.up()
    assert [step.title for step in project.plan() if step.difference.change != "none"] == []


# -- the template ------------------------------------------------------------------------------------------------------------------------


def actions(role):
    [policy] = RESOURCES[role]["Properties"]["Policies"]
    return {
        action: item["Resource"]
        for item in policy["PolicyDocument"]["Statement"]
        for action in ([item["Action"]] if isinstance(item["Action"], str) else item["Action"])
    }


def test_the_function_may_ask_its_endpoint_and_write_its_log_and_nothing_else():
    allowed = actions("FunctionRole")
    assert set(allowed) == {"sagemaker:InvokeEndpoint", "logs:CreateLogStream", "logs:PutLogEvents"}
    assert allowed["sagemaker:InvokeEndpoint"].endswith(":endpoint/${EndpointName}")
    assert RESOURCES["Function"]["Properties"]["Environment"]["Variables"]["ENDPOINT_NAME"] == "Ref EndpointName"


def test_the_authorizer_may_read_the_digests_of_its_model_and_nothing_else():
    allowed = actions("KeysRole")
    assert set(allowed) == {"ssm:GetParametersByPath", "logs:CreateLogStream", "logs:PutLogEvents"}
    path = api_keys.path_of("${EnvironmentName}", "${ModelName}")
    assert allowed["ssm:GetParametersByPath"].endswith(f":parameter{path}")
    assert RESOURCES["KeysFunction"]["Properties"]["Environment"]["Variables"]["KEYS_PATH"] == f"Sub {path}"


def test_no_route_is_open():
    routes = [item["Properties"] for item in RESOURCES.values() if item["Type"] == "AWS::ApiGatewayV2::Route"]
    assert {route["RouteKey"] for route in routes} == {"POST /predictions", "GET /openapi.json"}
    assert all(route["AuthorizationType"] == ["HasKeys", "CUSTOM", "AWS_IAM"] for route in routes)


def test_the_function_ends_before_the_gateway_gives_up_and_the_endpoint_before_the_function():
    from lambda_functions.prediction_api import endpoint

    gateway = RESOURCES["Integration"]["Properties"]["TimeoutInMillis"] / 1000
    assert (
        endpoint.CONNECT_SECONDS + endpoint.READ_SECONDS
        < RESOURCES["Function"]["Properties"]["Timeout"]
        < gateway
        <= 30
    )


def test_the_site_has_the_policy_that_it_has_on_this_machine():
    headers = RESOURCES["SiteHeaders"]["Properties"]["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
    assert " ".join(headers["ContentSecurityPolicy"]["ContentSecurityPolicy"].split()) == prediction_api.SITE_POLICY


# -- model.yaml --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("api: {}", "api.access: this key is missing"),
        ("api: {access: open}", "open is not possible; there are iam, key"),
        ("api: {access: key, cros: []}", "did you mean cors?"),
        ("api: {access: key, cors: ['*']}", "cors has '*', which is no origin"),
        ("api: {access: key, cors: ['https://a.example/x']}", "which is no origin"),
        ("api: {access: key, cors: https://a.example}", "is not a list"),
        ("api: {access: key, throttle: {per_second: 0}}", "api.throttle.per_second: 0"),
        ("api: {access: key, throttle: {burst: 9999}}", "api.throttle.burst: 9999"),
        ("api: {access: iam, site: true}", "site needs access: key"),
        ("api: {access: key, site: maybe}", "is not true or false"),
    ],
)
def test_a_wrong_section_is_refused_with_its_line(tmp_path, text, reason):
    path = tmp_path / "model.yaml"
    path.write_text((ROOT / "dags/models/abalone/model.yaml").read_text() + text + "\n")
    line = len(path.read_text().splitlines())
    with pytest.raises(ConfigError) as caught:
        load_model_config(path)
    assert str(caught.value).startswith(f"{path}:{line}: ") and reason in str(caught.value)


def test_a_model_without_an_endpoint_has_no_api():
    deployment = {"mode": "none", "image": SETTINGS["deployment"]["image"]}
    with pytest.raises(ValueError, match="a model with mode none has no endpoint that an API could ask"):
        ModelConfig.model_validate({**SETTINGS, "deployment": deployment, "api": {"access": "iam"}})
