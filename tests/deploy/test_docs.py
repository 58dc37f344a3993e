"""The numbers and commands of the deployment's pages."""

import re

import cloudformation
import pytest

from deploy import artifacts, data_platform, environment
from deploy.cost import bill

COST = (artifacts.ROOT / "docs" / "cost.md").read_text()
GUIDE = (artifacts.ROOT / "docs" / "deploy-to-mwaa.md").read_text()
TABLES = re.findall(r"\| item \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", COST)
RESOURCES = cloudformation.read(environment.ENVIRONMENT_TEMPLATE)["Resources"]


@pytest.mark.parametrize("table", TABLES)
def test_each_line_is_quantity_times_price_and_the_total_is_their_sum(table):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    *items, total = rows
    digits = len(total[-1].split(".")[1])
    for _, quantity, _, price, cost in items:
        assert round(float(quantity) * float(price) + 1e-9, digits) == float(cost), quantity
    assert round(sum(float(item[-1]) for item in items), digits) == float(total[-1])


def test_the_number_of_endpoints_is_that_of_the_template():
    endpoints = [item for item in RESOURCES.values() if item["Properties"].get("VpcEndpointType") == "Interface"]
    always = [item for item in endpoints if item["Condition"] != "UseStsEndpoint"]
    assert len(always) == bill.ENDPOINTS == 14
    assert [item["Condition"] for item in always].count("UseEcrEndpoints") == bill.ENDPOINTS_OF_ECR
    assert "14 in 2 zones" in COST
    assert "fourteen interface endpoints" in GUIDE


def test_the_budget_does_not_warn_of_an_idle_month():
    idle = float(re.findall(r"\| total \|.*\| ([\d.]+) \|", COST)[0])
    parameters = cloudformation.read(environment.ENVIRONMENT_TEMPLATE)["Parameters"]
    assert idle < 0.8 * parameters["BudgetUsd"]["Default"]


def test_every_verb_in_the_guide_is_in_the_makefile():
    verbs = set(re.findall(r"^([a-z-]+):", (artifacts.ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", GUIDE)) <= verbs


def test_every_verb_in_a_deployment_s_file_is_in_the_makefile():
    verbs = set(re.findall(r"^([a-z-]+):", (artifacts.ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in (artifacts.ROOT / "deploy" / "environments").glob("*.yaml"):
        assert set(re.findall(r"`make ([a-z-]+)", path.read_text())) <= verbs, path.name


def test_the_table_of_roles_has_the_folders_that_the_template_lets_each_one_read_and_write():
    platform = cloudformation.read(data_platform.TEMPLATE)["Resources"]
    rows = re.findall(r"^\| `(\w+Role)`.*? \| `(.*?)` \| `(.*?)` \|$", GUIDE, re.MULTILINE)
    assert {role for role, _, _ in rows} == {
        f"{name}Role" for name in ("Train", "Evaluate", "Serve", "Survey", "Experiment")
    }
    for role, *told in rows:
        [policy] = platform[role]["Properties"]["Policies"]
        for action, folders in zip(("s3:GetObject", "s3:PutObject"), told, strict=True):
            allowed = {
                target["Fn::Sub"].partition("${ModelName}/")[2].removesuffix("*")
                for statement in policy["PolicyDocument"]["Statement"]
                if action in statement["Action"]
                for target in statement["Resource"]
            }
            assert set(folders.split()) == allowed, (role, action)


def test_parameters_in_the_guide_are_those_of_the_template_with_their_defaults():
    parameters = cloudformation.read(environment.ENVIRONMENT_TEMPLATE)["Parameters"]
    for name, default in re.findall(r"^\| `([A-Z]\w+)` \| `?([\w.]+)`?[:| ]", GUIDE, re.MULTILINE):
        expected = parameters[name]["Default"] or "empty"
        assert default == expected, name


def test_every_variable_of_the_compose_file_is_explained_with_its_default():
    compose = (artifacts.ROOT / "docker-compose.yaml").read_text()
    example = (artifacts.ROOT / ".env.example").read_text()
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", compose))
    assert dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE)) == used
