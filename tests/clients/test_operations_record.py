"""The record of the client suite and the table of support: neither claims what the other does not know. No account is started here."""

import pytest
from client_record import recorded

from local_aws.gateway.support import MINISTACK, OWN, Support, support
from local_aws.glue.service import Glue
from local_aws.sagemaker.service import SageMaker
from local_aws.shared.clients import Clients
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

LEAST_OPERATIONS = 100
CLIENTS = {"Airflow provider", "SageMaker SDK", "aws CLI", "awswrangler", "boto3"}


def operations(what):
    """Service and operation of all lines of one kind in the record."""
    return {
        (service, operation)
        for client in recorded().values()
        for service, names in client[what].items()
        for operation in names
    }


def test_many_operations_were_answered_to_each_client():
    assert recorded().keys() == CLIENTS
    assert len(operations("answered")) >= LEAST_OPERATIONS
    for name, client in recorded().items():
        assert sum(map(len, client["answered"].values())) >= 10, name


def test_what_was_answered_is_not_called_absent():
    missing = sorted(pair for pair in operations("answered") if support(*pair) is Support.ABSENT)
    assert not missing, f"local_aws/gateway/support.py does not say what these are worth: {missing}"


def test_what_was_refused_is_called_absent():
    assert all(support(*pair) is Support.ABSENT for pair in operations("refused"))
    assert {service for service, _ in operations("refused")} == {"sagemaker", "glue", "ssm"}


def test_ministacks_table_lists_only_what_was_seen():
    listed = {(service, operation) for service, names in MINISTACK.items() for operation in names}
    assert sorted(listed - operations("answered")) == []


@pytest.mark.parametrize("service", [SageMaker, Glue])
def test_the_table_of_a_service_is_the_service(service, tmp_path):
    settings = Settings(port=1, data_dir=tmp_path, environments=tmp_path)
    store = Store(tmp_path / "store.sqlite")
    try:
        assert service(settings, store, Clients(settings)).operations == OWN[service.__name__.lower()].keys()
    finally:
        store.close()


def test_only_what_executes_or_reports_on_it_is_called_real():
    """Definitions, documents of the registry and tags are kept, not carried out."""
    documents = (
        "Model",
        "Models",
        "EndpointConfig",
        "EndpointConfigs",
        "Group",
        "Groups",
        "Package",
        "Packages",
        "Tags",
        "Pipeline",
        "Pipelines",
        "Experiment",
        "Experiments",
        "Trial",
        "Trials",
        "TrialComponent",
        "TrialComponents",
    )
    for operation, level in OWN["sagemaker"].items():
        assert (level is Support.RECORDED) == operation.endswith(documents), operation
