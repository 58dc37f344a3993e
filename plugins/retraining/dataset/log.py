"""The dataset log: which files make up which version of the data set.

``dataset/log/000007.json`` is one immutable record per version, written with ``If-None-Match: *``. That conditional put *is* the commit: it
is atomic, and of two writers of the same version one gets 412 and must read the log again. A version's data is the ordered list of
batches up to it; readers resolve paths through the log only, so what a crashed job left behind is invisible.

Beside the versions stand two kinds of immutable notes: ``dataset/refused/BATCH.json`` (a batch over its budget of bad rows; its files are
not tried again until ``dataset/released/BATCH.json`` exists) and ``dataset/trained/000007/RUN_KEY.json`` (a run that judged a model
trained on version 7).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from retraining.aws.naming import digest
from retraining.settings.strict import Strict

CHECKPOINT_EVERY = 25
READERS = 16  # parallel S3 GETs; a log of a thousand versions is 40 of them after the last checkpoint


class VersionConflictError(RuntimeError):
    """Another writer committed this version first; read the log again and start over."""


class FileRecord(Strict):
    """A landed file as it was read: its S3 key, entity tag, size in bytes and version; ``source`` is ``survey`` or ``synthetic``."""

    key: str
    etag: str
    size: int
    version_id: str | None = None
    source: str = "survey"

    @property
    def identity(self) -> tuple[str, str]:
        """What makes the file count once: an overwritten key has a new entity tag and is a new file."""
        return (self.key, self.etag)


class Output(Strict):
    """One object that the merge wrote: key, size in bytes, entity tag."""

    key: str
    size: int
    etag: str = ""


class Version(Strict):
    """One committed version: the batch that it adds to those before it."""

    version: int = Field(ge=1)
    batch: str
    created_at: str
    files: tuple[FileRecord, ...]
    rows: Mapping[str, int]
    """rows_new, rows_accepted, rows_duplicate, rows_quarantined of the batch."""
    rows_by_split: Mapping[str, int]
    training: Mapping[str, tuple[Output, ...]]
    """Training CSV objects per split."""
    data: tuple[Output, ...] = ()
    """Parquet objects."""
    run_key: str = ""


class Refusal(Strict):
    """A batch that was refused as a whole, and why."""

    batch: str
    created_at: str
    files: tuple[FileRecord, ...]
    rows: Mapping[str, int]
    reason: str


class TrainedNote(Strict):
    """A run that judged a model trained on ``version``."""

    version: int
    run_key: str
    decision: str
    model_package: str | None = None
    created_at: str = ""


@dataclass(frozen=True)
class LogState:
    """What the log says at one moment."""

    versions: tuple[Version, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    trained: frozenset[int] = frozenset()

    @property
    def latest(self) -> int:
        """Number of the newest version, 0 for an empty log."""
        return self.versions[-1].version if self.versions else 0

    @property
    def batches(self) -> tuple[str, ...]:
        """Digests of all committed batches in log order."""
        return tuple(version.batch for version in self.versions)

    @property
    def untrained(self) -> bool:
        """Whether the newest version that added rows has no judged model yet."""
        with_rows = [version.version for version in self.versions if version.rows_by_split.get("train", 0) > 0]
        return bool(with_rows) and not any(trained >= with_rows[-1] for trained in self.trained)

    def known_files(self) -> set[tuple[str, str]]:
        """Identities of the files that are in a version or refused."""
        committed = {record.identity for version in self.versions for record in version.files}
        return committed | {record.identity for refusal in self.refusals for record in refusal.files}

    def at(self, number: int) -> LogState:
        """Return the state as of version ``number``.

        Raises:
            LookupError: there is no such version.

        """
        if not 1 <= number <= self.latest:
            raise LookupError(f"dataset version {number} does not exist: the log has versions 1 to {self.latest}")
        return LogState(self.versions[:number], self.refusals, frozenset(n for n in self.trained if n <= number))

    def training_objects(self, split: str) -> list[Output]:
        """Training CSV objects of one split over all versions, in log order."""
        return [output for version in self.versions for output in version.training.get(split, ())]

    def rows_by_split(self) -> dict[str, int]:
        """Rows per split over all versions."""
        total: dict[str, int] = {}
        for version in self.versions:
            for split, rows in version.rows_by_split.items():
                total[split] = total.get(split, 0) + rows
        return total


def batch_digest(
    files: Iterable[FileRecord], contract: Mapping[str, Any], split: Mapping[str, int], history: Sequence[str]
) -> str:
    """Return the address of the batch that these files make under this contract and split after this history.

    The order of the files does not matter. The history does: rows that it has already are dropped from the batch.
    """
    listed = sorted((record.key, record.etag, record.source) for record in files)
    return digest({"files": listed, "contract": contract, "split": split, "history": list(history)})


def new_files(landed: Iterable[FileRecord], state: LogState) -> list[FileRecord]:
    """Return the landed files that no version and no refusal knows, in key order."""
    known = state.known_files()
    return sorted((record for record in landed if record.identity not in known), key=lambda record: record.key)


def manifest_entries(bucket: str, prefix: str, outputs: Sequence[Output]) -> list[Any]:
    """Return a SageMaker ``ManifestFile`` document for these objects: the common prefix, then relative keys."""
    root = f"{prefix}dataset/training/"
    return [{"prefix": f"s3://{bucket}/{root}"}, *(output.key.removeprefix(root) for output in outputs)]


class DatasetLog:
    """The log of one model in S3.

    Args:
        s3: a boto3 S3 client.
        bucket: the data bucket.
        prefix: the model's prefix, with a trailing slash.

    """

    def __init__(self, s3: Any, bucket: str, prefix: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._root = f"{prefix}dataset/"

    def read(self) -> LogState:
        """Read the whole log, starting from its newest checkpoint."""
        numbers, checkpoints = [], []
        for key in self._keys("log/"):
            name = key.rsplit("/", 1)[-1].removesuffix(".json")
            if name.startswith("checkpoint-"):
                checkpoints.append(int(name.removeprefix("checkpoint-")))
            else:
                numbers.append(int(name))
        versions: list[Version] = []
        if checkpoints:
            document = self._get(f"log/checkpoint-{max(checkpoints):06d}.json")
            versions = [Version.model_validate(item) for item in document["versions"]]
        versions += self._get_all(
            [f"log/{number:06d}.json" for number in sorted(numbers) if number > len(versions)], Version
        )
        for position, version in enumerate(versions, start=1):
            if version.version != position:
                raise RuntimeError(
                    f"s3://{self._bucket}/{self._root}log/: version {position} is missing, found {version.version}"
                )
        released = {self._stem(key) for key in self._keys("released/")}
        refused = [key.removeprefix(self._root) for key in self._keys("refused/") if self._stem(key) not in released]
        trained = {int(key.removeprefix(f"{self._root}trained/").split("/", 1)[0]) for key in self._keys("trained/")}
        return LogState(tuple(versions), tuple(self._get_all(refused, Refusal)), frozenset(trained))

    def commit(self, version: Version) -> None:
        """Commit ``version``, whose number must be the log's latest plus one.

        Raises:
            VersionConflictError: the number is taken by another batch. When it is taken by this very batch, the earlier commit stands.

        """
        name = f"log/{version.version:06d}.json"
        if not self._put_new(name, version.model_dump(mode="json")):
            standing = Version.model_validate(self._get(name))
            if standing.batch != version.batch:
                raise VersionConflictError(
                    f"dataset version {version.version} was committed by another run (batch {standing.batch}) while this one merged "
                    f"batch {version.batch}; its files stay new, start a new run"
                )
        if version.version % CHECKPOINT_EVERY == 0:
            state = self.read().at(version.version)
            self._put_new(
                f"log/checkpoint-{version.version:06d}.json",
                {"versions": [item.model_dump(mode="json") for item in state.versions]},
            )

    def refuse(self, refusal: Refusal) -> None:
        """Record that a batch was refused, so that its files are not tried again."""
        self._put_new(f"refused/{refusal.batch}.json", refusal.model_dump(mode="json"))

    def release(self, batch: str, who: str, why: str) -> None:
        """Let the files of a refused batch count as new again.

        Raises:
            LookupError: no such batch was refused.

        """
        if f"{self._root}refused/{batch}.json" not in set(self._keys("refused/")):
            raise LookupError(f"batch {batch} is not among the refused ones; see the dataset log for those that are")
        self._put_new(f"released/{batch}.json", {"who": who, "why": why})

    def note_trained(self, note: TrainedNote) -> None:
        """Record that a model trained on a version was judged."""
        self._put_new(f"trained/{note.version:06d}/{note.run_key}.json", note.model_dump(mode="json"))

    def trained_notes(self) -> list[TrainedNote]:
        """Read all notes of judged models."""
        return self._get_all([key.removeprefix(self._root) for key in self._keys("trained/")], TrainedNote)

    def _keys(self, folder: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._root + folder)
        return [item["Key"] for page in pages for item in page.get("Contents", []) if item["Key"].endswith(".json")]

    @staticmethod
    def _stem(key: str) -> str:
        return key.rsplit("/", 1)[-1].removesuffix(".json")

    def _get(self, name: str) -> Any:
        return json.loads(self._s3.get_object(Bucket=self._bucket, Key=self._root + name)["Body"].read())

    def _get_all(self, names: Sequence[str], kind: type[Any]) -> list[Any]:
        if not names:
            return []
        with ThreadPoolExecutor(max_workers=min(READERS, len(names))) as pool:
            return [kind.model_validate(document) for document in pool.map(self._get, names)]

    def _put_new(self, name: str, document: Any) -> bool:
        """Write a record that does not exist yet; return False when it does."""
        from botocore.exceptions import ClientError

        body = json.dumps(document, indent=1, sort_keys=True).encode()
        try:
            self._s3.put_object(
                Bucket=self._bucket, Key=self._root + name, Body=body, ContentType="application/json", IfNoneMatch="*"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"):
                return False
            raise
        return True
