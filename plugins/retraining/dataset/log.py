"""The dataset log in S3: which files make up which version of the data set.

``dataset/log/000007.json`` is one immutable record per version, written with ``If-None-Match: *``. That conditional put *is* the commit: it
is atomic, and of two writers of the same version one gets 412 and must read the log again. A version's data is the ordered list of
batches up to it; readers resolve paths through the log only, so what a crashed job left behind is invisible.

Beside the versions stand four kinds of immutable notes: ``dataset/judged/BATCH.json`` (a batch of which no file could be merged),
``dataset/released/000001.json`` (a person's word that refused files count as new again), ``dataset/erased/000001.json`` (what was removed
for good because it held forgotten rows) and ``dataset/trained/000007/RUN_KEY.json`` (a run that judged a model trained on version 7).

Every document carries the digest of its own content, so that `verify` finds a byte that changed in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from retraining.aws.documents import utc_now
from retraining.aws.naming import digest
from retraining.dataset.records import Erasure, Judgement, Release, ReleasedFile, TrainedNote, Version
from retraining.dataset.state import JudgedFile, LogState

CHECKPOINT_EVERY = 25
READERS = 16  # parallel S3 GETs; a log of a thousand versions is 40 of them after the last checkpoint
NAMED = 10  # most files that an error lists


class VersionConflictError(RuntimeError):
    """Another writer committed this version first; read the log again and start over."""


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
        self._prefix = prefix
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
        trained = {int(key.removeprefix(f"{self._root}trained/").split("/", 1)[0]) for key in self._keys("trained/")}
        return LogState(
            tuple(versions),
            tuple(self._notes("judged/", Judgement)),
            tuple(self._notes("released/", Release)),
            frozenset(trained),
            tuple(self._notes("erased/", Erasure)),
        )

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

    def judge(self, judgement: Judgement) -> None:
        """Record a batch of which no file could be merged, so that its files are not looked at again."""
        self._put_new(f"judged/{judgement.batch}.json", judgement.model_dump(mode="json"))

    def release(self, what: str, *, who: str, why: str, accept: bool = False) -> list[JudgedFile]:
        """Let refused files count as new again.

        Args:
            what: a batch, for all its refused files; or a file's key, with or without the model's prefix.
            who: goes on record.
            why: goes on record.
            accept: merge them even beyond the budget of bad rows.

        Returns:
            The refusals that are lifted.

        Raises:
            LookupError: nothing of that name is refused.

        """
        while True:
            state = self.read()
            names = {what, self._prefix + what}
            lifted = [judged for judged in state.refused_files if judged.batch == what or judged.file.key in names]
            if not lifted:
                refused = [judged.file.key for judged in state.refused_files]
                more = f" and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
                known = f"refused are {', '.join(refused[:NAMED])}{more}" if refused else "no file is refused"
                raise LookupError(f"neither a refused file nor a batch with one is named {what}: {known}")
            files = tuple(
                ReleasedFile(key=judged.file.key, etag=judged.file.etag, batch=judged.batch) for judged in lifted
            )
            release = Release(created_at=utc_now(), who=who, why=why, accept=accept, files=files)
            if self._put_new(f"released/{len(state.releases) + 1:06d}.json", release.model_dump(mode="json")):
                return lifted

    def erase(self, erasure: Erasure) -> None:
        """Record what is removed for good."""
        number = len(self._keys("erased/")) + 1
        while not self._put_new(f"erased/{number:06d}.json", erasure.model_dump(mode="json")):
            number += 1

    def note_trained(self, note: TrainedNote) -> None:
        """Record that a model trained on a version was judged."""
        self._put_new(f"trained/{note.version:06d}/{note.run_key}.json", note.model_dump(mode="json"))

    def trained_notes(self) -> list[TrainedNote]:
        """Read all notes of judged models."""
        return self._notes("trained/", TrainedNote)

    def _notes(self, folder: str, kind: type[Any]) -> list[Any]:
        return self._get_all([key.removeprefix(self._root) for key in self._keys(folder)], kind)

    def _keys(self, folder: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._root + folder)
        return [item["Key"] for page in pages for item in page.get("Contents", []) if item["Key"].endswith(".json")]

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

        body = json.dumps({**document, "digest": digest(document)}, indent=1, sort_keys=True).encode()
        try:
            self._s3.put_object(
                Bucket=self._bucket, Key=self._root + name, Body=body, ContentType="application/json", IfNoneMatch="*"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"):
                return False
            raise
        return True
