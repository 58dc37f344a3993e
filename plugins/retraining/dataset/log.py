"""The dataset log in S3: which files make up which version of the data set.

``dataset/log/000007.json`` is one immutable record per version, written with ``If-None-Match: *``. That conditional put *is* the commit: it
is atomic, and of two writers of the same version one gets 412 and must read the log again. A version's data is the ordered list of
batches up to it; readers resolve paths through the log only, so what a crashed job left behind is invisible.

Beside the versions stand four kinds of immutable notes: ``dataset/judged/BATCH.json`` (a batch of which no file could be merged),
``dataset/released/000001.json`` (a person's word that refused files count as new again), ``dataset/erased/000001.json`` (what was removed
for good because it held forgotten rows) and ``dataset/trained/000007/RUN_KEY.json`` (a run that judged a model trained on version 7).

Every document carries the digest of its own content, so that `verify` finds a byte that changed in it. A log that is read again fetches
only what it has not parsed under the same key and entity tag.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from retraining.aws.documents import utc_now
from retraining.aws.naming import digest
from retraining.dataset.records import (
    Checkpoint,
    Erasure,
    Judgement,
    Record,
    Release,
    ReleasedFile,
    TrainedNote,
    Version,
)
from retraining.dataset.state import JudgedFile, LogState

CHECKPOINT_EVERY = 25
READERS = 16  # parallel S3 GETs; a log of a thousand versions is 40 of them after the last checkpoint
NAMED = 10  # most files that an error lists
CHECKPOINT = "log/checkpoint-"


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
        self._last: tuple[Mapping[tuple[str, str], Any], LogState] = {}, LogState()
        """The last reading: its records by name and entity tag, and what they say; replaced as a whole, so that threads may share a log."""

    def read(self) -> LogState:
        """Read the whole log, starting from its newest checkpoint; the very object of the last reading when nothing has changed."""
        log, trained = self._listed_log(), self._tags("trained/")
        checkpoint = max((name for name in log if name.startswith(CHECKPOINT)), default=None)
        parsed = self._records([checkpoint] if checkpoint else [], log, Checkpoint)
        versions = [version for one in parsed.values() for version in one.versions]
        later = [name for name in log if not name.startswith(CHECKPOINT) and _number(name) > len(versions)]
        parsed |= (tail := self._records(sorted(later, key=_number), log, Version))
        versions += tail.values()
        for position, version in enumerate(versions, start=1):
            if version.version != position:
                raise RuntimeError(
                    f"s3://{self._bucket}/{self._root}log/: version {position} is missing, found {version.version}"
                )
        notes = []
        for folder, kind in (("judged/", Judgement), ("released/", Release), ("erased/", Erasure)):
            parsed |= (found := self._records(list(tags := self._tags(folder)), tags, kind))
            notes.append(tuple(found.values()))
        judgements, releases, erasures = notes
        judged_versions = frozenset(map(_number, trained))
        known, state = self._last
        if known.keys() != parsed.keys() or state.trained != judged_versions:
            state = LogState(tuple(versions), judgements, releases, judged_versions, erasures)
        self._last = parsed, state
        return state

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
                f"{CHECKPOINT}{version.version:06d}.json",
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
        number = len(self._tags("erased/")) + 1
        while not self._put_new(f"erased/{number:06d}.json", erasure.model_dump(mode="json")):
            number += 1

    def note_trained(self, note: TrainedNote) -> None:
        """Record that a model trained on a version was judged."""
        self._put_new(f"trained/{note.version:06d}/{note.run_key}.json", note.model_dump(mode="json"))

    def trained_notes(self) -> list[TrainedNote]:
        """Read all notes of judged models."""
        tags = self._tags("trained/")
        return list(self._records(list(tags), tags, TrainedNote).values())

    def _listed_log(self) -> dict[str, str]:
        """Return the entity tags of ``log/``, without those of versions that the checkpoint of the last reading holds."""
        known, _ = self._last
        for (name, _), record in known.items():
            if isinstance(record, Checkpoint):  # names of checkpoints stand behind those of versions
                log = self._tags("log/", after=f"log/{len(record.versions):06d}.json")
                if name in log:
                    return log
        return self._tags("log/")

    def _tags(self, folder: str, after: str = "") -> dict[str, str]:
        """Return the entity tags of the documents of a folder, by name, in the order of their names."""
        start = {"StartAfter": self._root + after} if after else {}
        listing = self._s3.get_paginator("list_objects_v2")
        pages = listing.paginate(Bucket=self._bucket, Prefix=self._root + folder, **start)
        items = (item for page in pages for item in page.get("Contents", []))
        return {item["Key"].removeprefix(self._root): item["ETag"] for item in items if item["Key"].endswith(".json")}

    def _get(self, name: str) -> Any:
        return json.loads(self._s3.get_object(Bucket=self._bucket, Key=self._root + name)["Body"].read())

    def _records(self, names: Sequence[str], tags: Mapping[str, str], kind: type[Record]) -> dict[tuple[str, str], Any]:
        """Return documents as records, in the order of the names, by name and entity tag; what the last reading had is not fetched."""
        keys = [(name, tags[name]) for name in names]
        parsed, _ = self._last
        fetched = [key for key in keys if key not in parsed]
        if fetched:
            with ThreadPoolExecutor(max_workers=min(READERS, len(fetched))) as pool:
                documents = pool.map(self._get, [name for name, _ in fetched])
                parsed = {
                    **parsed,
                    **{key: kind.model_validate(one) for key, one in zip(fetched, documents, strict=True)},
                }
        return {key: parsed[key] for key in keys}

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


def _number(name: str) -> int:
    """Return the version of a record of ``log/`` or ``trained/``."""
    return int(name.split("/")[1].removesuffix(".json"))
