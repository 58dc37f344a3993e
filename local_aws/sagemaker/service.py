"""The SageMaker service: which operation is answered by what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local_aws.sagemaker.experiments.records import Experiments
from local_aws.sagemaker.hosting.autoscaling import Autoscaling
from local_aws.sagemaker.hosting.containers import containers_of
from local_aws.sagemaker.hosting.endpoints import Endpoints
from local_aws.sagemaker.models import EndpointConfigs, ModelRegistry, Models, Tags
from local_aws.sagemaker.pipelines.pipelines import Pipelines
from local_aws.sagemaker.processing import ProcessingJobs
from local_aws.sagemaker.search import Search
from local_aws.sagemaker.spares import SparePythons
from local_aws.sagemaker.training import TrainingJobs
from local_aws.sagemaker.transform import TransformJobs
from local_aws.sagemaker.tuning.jobs import TuningJobs
from local_aws.shared.clients import Clients
from local_aws.shared.requests.members import check_members
from local_aws.shared.requests.validation import check_request, unsupported
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

Document = dict[str, Any]


class SageMaker:
    """All SageMaker resources of the account."""

    def __init__(self, settings: Settings, store: Store, clients: Clients) -> None:
        self.tags = Tags(store)
        self.models = Models(settings, store, self.tags, clients)
        self.configs = EndpointConfigs(settings, store, self.tags, self.models)
        self.registry = ModelRegistry(settings, store, self.tags)
        self.spares = SparePythons(settings)
        self.endpoints = Endpoints(
            settings, store, clients, self.spares, self.tags, self.models, self.configs, self.registry
        )
        self.scaling = Autoscaling(settings, store, self.endpoints, self.configs)
        self.training = TrainingJobs(settings, store, clients, self.spares)
        self.processing = ProcessingJobs(settings, store, clients, self.spares)
        self.transform = TransformJobs(settings, store, clients, self.spares)
        self.transform.containers_by_model = lambda name: containers_of(self.models.find(name), self.registry)
        self.transform.role_by_model = lambda name: self.models.find(name).get("ExecutionRoleArn")
        self.tuning = TuningJobs(settings, store, clients, self.training)
        self.experiments = Experiments(settings, store)
        self.search = Search(store, self.experiments.searched)
        self.pipelines = Pipelines(settings, store, clients, self.call)
        self._jobs = (self.tuning, self.training, self.processing, self.transform)  # no tuning job outlives its trials
        self._operations = self._table()

    def _table(self) -> dict[str, Callable[[Document], Document]]:
        table: dict[str, Callable[[Document], Document]] = {}
        for jobs in self._jobs:
            noun = jobs.prefix
            table |= {
                f"Create{noun}": jobs.create,
                f"Describe{noun}": jobs.describe,
                f"List{noun}s": jobs.list_jobs,
                f"Stop{noun}": jobs.stop,
            }
        return (
            table
            | self.pipelines.operations()
            | self.experiments.operations()
            | {
                "ListTrainingJobsForHyperParameterTuningJob": self.tuning.list_trials,
                "CreateModel": self.models.create,
                "DescribeModel": self.models.describe,
                "ListModels": self.models.list_resources,
                "DeleteModel": self.models.delete,
                "CreateEndpointConfig": self.configs.create,
                "DescribeEndpointConfig": self.configs.describe,
                "ListEndpointConfigs": self.configs.list_resources,
                "DeleteEndpointConfig": self.configs.delete,
                "CreateEndpoint": self.endpoints.create,
                "UpdateEndpoint": self.scaling.update,
                "UpdateEndpointWeightsAndCapacities": self.endpoints.weigh,
                "Search": self.search.search,
                "DescribeEndpoint": self.endpoints.describe,
                "ListEndpoints": self.endpoints.list_endpoints,
                "DeleteEndpoint": self.scaling.delete,
                "CreateModelPackageGroup": self.registry.create_group,
                "DescribeModelPackageGroup": self.registry.describe_group,
                "ListModelPackageGroups": self.registry.list_groups,
                "DeleteModelPackageGroup": self.registry.delete_group,
                "CreateModelPackage": self.registry.create_package,
                "DescribeModelPackage": self.registry.describe_package,
                "ListModelPackages": self.registry.list_packages,
                "UpdateModelPackage": self.registry.update_package,
                "DeleteModelPackage": self.registry.delete_package,
                "AddTags": self.tags.add,
                "ListTags": self.tags.list_tags,
                "DeleteTags": self.tags.remove,
            }
        )

    @property
    def operations(self) -> frozenset[str]:
        """Return the names of the operations that are answered."""
        return frozenset(self._operations)

    def call(self, operation: str, params: Document) -> Document:
        """Answer one request; ServiceError for what the service refuses or this account lacks."""
        handler = self._operations.get(operation)
        if handler is None:
            raise unsupported("sagemaker", operation)
        check_request("sagemaker", operation, params)
        check_members("sagemaker", operation, params)
        return handler(params)

    def recover(self) -> None:
        """Report the jobs of an earlier process as failed."""
        self.pipelines.recover()
        for jobs in self._jobs:
            jobs.recover()

    def shutdown(self) -> None:
        """End all jobs and servers, and what waits for one."""
        self.pipelines.shutdown()
        self.spares.shutdown()
        for jobs in self._jobs:
            jobs.shutdown()
        self.endpoints.shutdown()
