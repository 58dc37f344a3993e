"""SageMaker models, endpoint configurations and the model registry: documents that jobs and endpoints refer to."""

from __future__ import annotations

import re
import time
from typing import Any

from local_aws.sagemaker.hosting import serverless
from local_aws.shared.clients import Clients
from local_aws.shared.errors import ServiceError, validation_error
from local_aws.shared.listing import list_page, page_of
from local_aws.shared.sandbox import S3Files
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store
from local_aws.shared.trust import require_assumable

Document = dict[str, Any]

_PACKAGE_SUMMARY = (
    "ModelPackageName",
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "ModelPackageStatus",
    "ModelApprovalStatus",
)


class Tags:
    """Tags of any SageMaker resource, by ARN."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def set(self, arn: str, tags: list[Document]) -> None:
        """Record the tags of a new resource."""
        self._store.put("tags", arn, {"Arn": arn, "Tags": tags})

    def forget(self, arn: str) -> None:
        """Drop the tags of a deleted resource."""
        self._store.delete("tags", arn)

    def _get(self, arn: str) -> Document:
        document = self._store.get("tags", arn)
        if document is None:
            raise validation_error(f"The resource {arn} does not exist.")
        return document

    def add(self, params: Document) -> Document:
        """Add or replace tags."""
        with self._store.locked():
            document = self._get(params["ResourceArn"])
            merged = {tag["Key"]: tag["Value"] for tag in document["Tags"] + params["Tags"]}
            if len(merged) > 50:
                raise validation_error(f"{params['ResourceArn']} cannot have more than 50 tags.")
            document["Tags"] = [{"Key": key, "Value": value} for key, value in merged.items()]
            self._store.put("tags", params["ResourceArn"], document)
        return {"Tags": document["Tags"]}

    def list_tags(self, params: Document) -> Document:
        """Return a page of tags."""
        return page_of(self._get(params["ResourceArn"])["Tags"], params, "Tags", default_size=50)

    def remove(self, params: Document) -> Document:
        """Remove tags by key."""
        with self._store.locked():
            document = self._get(params["ResourceArn"])
            document["Tags"] = [tag for tag in document["Tags"] if tag["Key"] not in params["TagKeys"]]
            self._store.put("tags", params["ResourceArn"], document)
        return {}


class NamedResources:
    """Create, Describe, List and Delete of a resource that is nothing but its document."""

    def __init__(
        self, settings: Settings, store: Store, tags: Tags, *, kind: str, title: str, prefix: str, result: str
    ) -> None:
        self._settings = settings
        self._store = store
        self._tags = tags
        self._kind = kind
        self._title = title
        self._prefix = prefix
        self._result = result

    def arn(self, name: str) -> str:
        """Return the ARN of a resource by name."""
        return self._settings.arn("sagemaker", f"{self._kind}/{name}")

    def create(self, params: Document) -> Document:
        """Record the resource; ValidationException when the name is taken."""
        name = params[f"{self._prefix}Name"]
        arn = self.arn(name)
        document = {key: value for key, value in params.items() if key != "Tags"}
        document |= {f"{self._prefix}Arn": arn, "CreationTime": time.time()}
        if not self._store.insert(self._kind, name, document):
            raise validation_error(f'Cannot create already existing {self._title} "{arn}".')
        self._tags.set(arn, params.get("Tags", []))
        return {f"{self._prefix}Arn": arn}

    def find(self, name: str) -> Document:
        """Return a document; ValidationException when there is none."""
        document = self._store.get(self._kind, name)
        if document is None:
            raise validation_error(f'Could not find {self._title} "{self.arn(name)}".')
        return document

    def describe(self, params: Document) -> Document:
        """Return the resource's document."""
        return self.find(params[f"{self._prefix}Name"])

    def list_resources(self, params: Document) -> Document:
        """Return a page of summaries."""
        return list_page(
            self._store.all(self._kind),
            params,
            result=self._result,
            fields=(f"{self._prefix}Name", f"{self._prefix}Arn", "CreationTime"),
            name_field=f"{self._prefix}Name",
        )

    def delete(self, params: Document) -> Document:
        """Remove the resource."""
        name = params[f"{self._prefix}Name"]
        if not self._store.delete(self._kind, name):
            raise validation_error(f'Could not find {self._title} "{self.arn(name)}".')
        self._tags.forget(self.arn(name))
        return {}


class Models(NamedResources):
    """SageMaker models."""

    def __init__(self, settings: Settings, store: Store, tags: Tags, clients: Clients) -> None:
        super().__init__(settings, store, tags, kind="model", title="model", prefix="Model", result="Models")
        self._clients = clients

    def create(self, params: Document) -> Document:
        """Record the model: one container, or those of an inference pipeline in their order."""
        if ("PrimaryContainer" in params) == ("Containers" in params):
            raise validation_error("Give one of PrimaryContainer and Containers.")
        containers = params.get("Containers") or [params["PrimaryContainer"]]
        for container in containers:
            if container.get("Mode") == "MultiModel" and (len(containers) > 1 or "ModelDataUrl" not in container):
                raise validation_error("A multi-model container stands alone and needs a ModelDataUrl.")
            source = container.get("ModelDataSource", {}).get("S3DataSource", {})
            data = container.get("ModelDataUrl") or source.get("S3Uri")
            if data and not S3Files(self._clients.s3).exists(data):
                raise validation_error(f"Could not find model data at {data}.")
        if role := params.get("ExecutionRoleArn"):
            require_assumable(self._clients, self._settings, role, self.arn(params["ModelName"]))
        return super().create(params)


class EndpointConfigs(NamedResources):
    """SageMaker endpoint configurations."""

    def __init__(self, settings: Settings, store: Store, tags: Tags, models: Models) -> None:
        super().__init__(
            settings,
            store,
            tags,
            kind="endpoint-config",
            title="endpoint configuration",
            prefix="EndpointConfig",
            result="EndpointConfigs",
        )
        self._models = models

    def create(self, params: Document) -> Document:
        """Record the configuration; the models that it names must exist."""
        names = [variant["VariantName"] for variant in params["ProductionVariants"]]
        if len(set(names)) != len(names):
            raise validation_error("The names of production variants must be unique in an endpoint configuration.")
        for variant in params["ProductionVariants"]:
            if "ModelName" not in variant:
                raise validation_error(
                    f"Production variant {variant['VariantName']} names no model; "
                    "inference components are not available in local_aws."
                )
            serverless.check_capacity(variant)
            serverless.check_model(variant, self._models.find(variant["ModelName"]))
        serverless.check_config(params)
        return super().create(params)


class ModelRegistry:
    """Model package groups and their versioned packages."""

    def __init__(self, settings: Settings, store: Store, tags: Tags) -> None:
        self._settings = settings
        self._store = store
        self._tags = tags

    # -- groups ----------------------------------------------------------------------------------------------------

    def _group_arn(self, name: str) -> str:
        return self._settings.arn("sagemaker", f"model-package-group/{name}")

    def _group(self, name_or_arn: str) -> Document:
        name = name_or_arn.rsplit("/", 1)[-1]
        document = self._store.get("model-package-group", name)
        if document is None and name_or_arn.startswith("arn:"):  # which is in lower case, whatever the name is
            groups = self._store.all("model-package-group")
            document = next((group for group in groups if group["ModelPackageGroupArn"] == name_or_arn), None)
        if document is None:
            raise validation_error(f"ModelPackageGroup {self._group_arn(name)} does not exist.")
        return document

    def create_group(self, params: Document) -> Document:
        """Record a group."""
        name = params["ModelPackageGroupName"]
        arn = self._group_arn(name)
        document = {key: value for key, value in params.items() if key != "Tags"}
        document |= {
            "ModelPackageGroupArn": arn,
            "CreationTime": time.time(),
            "ModelPackageGroupStatus": "Completed",
            "CreatedBy": {},
        }
        if not self._store.insert("model-package-group", name, document):
            raise validation_error(f"Model Package Group already exists: {arn}")
        self._tags.set(arn, params.get("Tags", []))
        return {"ModelPackageGroupArn": arn}

    def describe_group(self, params: Document) -> Document:
        """Return a group's document."""
        return {k: v for k, v in self._group(params["ModelPackageGroupName"]).items() if k != "LastVersion"}

    def list_groups(self, params: Document) -> Document:
        """Return a page of groups."""
        return list_page(
            self._store.all("model-package-group"),
            params,
            result="ModelPackageGroupSummaryList",
            fields=(
                "ModelPackageGroupName",
                "ModelPackageGroupArn",
                "ModelPackageGroupDescription",
                "CreationTime",
                "ModelPackageGroupStatus",
            ),
            name_field="ModelPackageGroupName",
            default_order="Ascending",
        )

    def delete_group(self, params: Document) -> Document:
        """Remove an empty group."""
        with self._store.locked():
            group = self._group(params["ModelPackageGroupName"])
            name = group["ModelPackageGroupName"]
            if any(package.get("ModelPackageGroupName") == name for package in self._packages()):
                raise ServiceError(
                    "ConflictException",
                    f"Model Package Group {group['ModelPackageGroupArn']} cannot be deleted "
                    "because it contains Model Packages. Delete them first.",
                )
            self._store.delete("model-package-group", name)
        self._tags.forget(group["ModelPackageGroupArn"])
        return {}

    # -- packages --------------------------------------------------------------------------------------------------

    def _packages(self) -> list[Document]:
        return self._store.all("model-package")

    def find_package(self, name_or_arn: str) -> Document:
        """Return a package by its ARN or (without a group) its name."""
        arn = name_or_arn
        if not arn.startswith("arn:"):
            arn = self._settings.arn("sagemaker", f"model-package/{name_or_arn}")
        document = self._store.get("model-package", arn)
        if document is None:
            raise validation_error(f"ModelPackage {arn} does not exist.")
        return document

    def create_package(self, params: Document) -> Document:
        """Record a package as the next version of its group; the same ClientToken returns the same package."""
        if ("ModelPackageName" in params) == ("ModelPackageGroupName" in params):
            raise validation_error("Give one of ModelPackageName and ModelPackageGroupName.")
        token = params.get("ClientToken")
        if token and not re.fullmatch(r"[a-zA-Z0-9-]+", token):
            raise validation_error(f"Value '{token}' at 'clientToken' failed to satisfy constraint.")
        with self._store.locked():
            earlier = self._store.get("client-token", token) if token else None
            request = {key: value for key, value in params.items() if key != "ClientToken"}
            if earlier:
                if earlier["Request"] != request:
                    raise ServiceError(
                        "ConflictException", f"The ClientToken {token} was used with other parameters before."
                    )
                return {"ModelPackageArn": earlier["ModelPackageArn"]}
            document = self._new_package(params)
            arn = document["ModelPackageArn"]
            if not self._store.insert("model-package", arn, document):
                raise ServiceError("ConflictException", f"Model Package already exists: {arn}")
            if token:
                self._store.put("client-token", token, {"Request": request, "ModelPackageArn": arn})
        self._tags.set(arn, params.get("Tags", []))
        return {"ModelPackageArn": arn}

    def _new_package(self, params: Document) -> Document:
        document = {key: value for key, value in params.items() if key not in ("Tags", "ClientToken")}
        now = time.time()
        if "ModelPackageGroupName" in params:
            group = self._group(params["ModelPackageGroupName"])
            name = group["ModelPackageGroupName"]
            # The group remembers its last version: the number of a deleted package is not given again.
            version = group.get("LastVersion", 0) + 1
            self._store.put("model-package-group", name, group | {"LastVersion": version})
            document |= {"ModelPackageGroupName": name, "ModelPackageVersion": version}
            document.setdefault("ModelApprovalStatus", "PendingManualApproval")
            resource = f"{name}/{version}"
        else:
            resource = params["ModelPackageName"]
        return document | {
            "ModelPackageArn": self._settings.arn("sagemaker", f"model-package/{resource}"),
            "CreationTime": now,
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        }

    def describe_package(self, params: Document) -> Document:
        """Return a package's document."""
        return self.find_package(params["ModelPackageName"])

    def list_packages(self, params: Document) -> Document:
        """Return a page of packages: the versions of one group, or those without a group."""
        group = params.get("ModelPackageGroupName")
        kind = params.get("ModelPackageType", "Versioned" if group else "Unversioned")
        name = self._group(group)["ModelPackageGroupName"] if group else None
        status = params.get("ModelApprovalStatus")
        chosen = [
            package
            for package in self._packages()
            if (name is None or package.get("ModelPackageGroupName") == name)
            and (kind == "Both" or ("ModelPackageVersion" in package) == (kind == "Versioned"))
            and (status is None or package.get("ModelApprovalStatus") == status)
        ]
        return list_page(
            chosen,
            params,
            result="ModelPackageSummaryList",
            fields=_PACKAGE_SUMMARY,
            name_field="ModelPackageArn",
            default_order="Ascending",
        )

    def update_package(self, params: Document) -> Document:
        """Change the approval, the description or the metadata of a package."""
        arn = params["ModelPackageArn"]
        with self._store.locked():
            document = self.find_package(arn)
            if "ModelApprovalStatus" in params and "ModelPackageVersion" not in document:
                raise validation_error("Only versioned model packages have an approval status.")
            for field in ("ModelApprovalStatus", "ApprovalDescription", "SourceUri", "InferenceSpecification"):
                if field in params:
                    document[field] = params[field]
            metadata = document.get("CustomerMetadataProperties", {}) | params.get("CustomerMetadataProperties", {})
            for key in params.get("CustomerMetadataPropertiesToRemove", []):
                metadata.pop(key, None)
            if metadata:
                document["CustomerMetadataProperties"] = metadata
            added = params.get("AdditionalInferenceSpecificationsToAdd", [])
            if added:
                document.setdefault("AdditionalInferenceSpecifications", []).extend(added)
            document["LastModifiedTime"] = time.time()
            self._store.put("model-package", arn, document)
        return {"ModelPackageArn": arn}

    def delete_package(self, params: Document) -> Document:
        """Remove a package."""
        arn = self.find_package(params["ModelPackageName"])["ModelPackageArn"]
        self._store.delete("model-package", arn)
        self._tags.forget(arn)
        return {}
