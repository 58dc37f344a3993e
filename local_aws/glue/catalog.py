"""Operations of the Glue catalog that MiniStack lacks, made of those that it has."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from local_aws.shared.clients import Clients
from local_aws.shared.errors import ServiceError
from local_aws.shared.listing import page_of
from local_aws.shared.settings import Settings

Document = dict[str, Any]


class Catalog:
    """UpdatePartition, BatchDeletePartition, and the lists of names by tags."""

    def __init__(self, settings: Settings, clients: Clients) -> None:
        self._settings = settings
        self._clients = clients

    def update_partition(self, params: Document) -> Document:
        """Change one partition; its values may change, too."""
        entry = {"PartitionValueList": params["PartitionValueList"], "PartitionInput": params["PartitionInput"]}
        answer = self._clients.catalog.batch_update_partition(
            DatabaseName=params["DatabaseName"], TableName=params["TableName"], Entries=[entry]
        )
        for error in answer["Errors"]:
            raise ServiceError(error["ErrorDetail"]["ErrorCode"], "Cannot find partition.")
        return {}

    def delete_partitions(self, params: Document) -> Document:
        """Remove partitions; those that are not there are told."""
        errors = []
        table = {"DatabaseName": params["DatabaseName"], "TableName": params["TableName"]}
        self._clients.catalog.get_table(DatabaseName=params["DatabaseName"], Name=params["TableName"])
        for item in params["PartitionsToDelete"]:
            try:
                self._clients.catalog.delete_partition(**table, PartitionValues=item["Values"])
            except ClientError as error:
                detail = {"ErrorCode": error.response["Error"]["Code"], "ErrorMessage": "Partition not found."}
                errors.append({"PartitionValues": item["Values"], "ErrorDetail": detail})
        return {"Errors": errors}

    def list_jobs(self, params: Document) -> Document:
        """Return a page of the names of jobs, of those with some tags if asked so."""
        pages = self._clients.catalog.get_paginator("get_jobs").paginate()
        names = [job["Name"] for page in pages for job in page["Jobs"]]
        return page_of(self.tagged("job", names, params), params, "JobNames", default_size=100)

    def tagged(self, kind: str, names: list[str], params: Document) -> list[str]:
        """Return those names whose resources have the tags that a request names."""
        wanted = params.get("Tags", {}).items()
        if not wanted:
            return names
        tags = {
            name: self._clients.catalog.get_tags(ResourceArn=self._settings.arn("glue", f"{kind}/{name}"))["Tags"]
            for name in names
        }
        return [name for name in names if wanted <= tags[name].items()]
