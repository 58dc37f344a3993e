"""What stands in the dataset log: files, verdicts on files, versions, releases, erasures, and notes of judged models.

Every document carries ``schema_version``. Within one number fields are only added, and readers pass over fields that they do not know, so a
library that was rolled back reads what a newer one wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from retraining.contract.notation.training_format import CSV_WITHOUT_HEADER

SCHEMA_VERSION = 1
REFUSED, IGNORED, MERGED = "refused", "ignored", "merged"


class Record(BaseModel):
    """Base of what the log holds: immutable, and open to fields of a later library."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Document(Record):
    """A record that is an object of its own in S3."""

    schema_version: int = SCHEMA_VERSION


class FileRecord(Record):
    """A landed file as it was read: its S3 key, entity tag, size in bytes and version; ``source`` is ``survey`` or ``synthetic``."""

    key: str
    etag: str
    size: int
    version_id: str | None = None
    source: str = "survey"
    landed_at: str = ""
    """When S3 got it, by S3's clock."""
    attempt: int = 0
    """How often the file was released after a refusal."""
    beyond_budget: bool = False
    """Whether a person accepted more bad rows than the budget allows."""
    read_from: str | None = None
    """Key of a copy without forgotten rows, which is read instead; ``read_etag`` and ``read_size`` are the copy's."""
    read_etag: str = ""
    read_size: int = 0

    @property
    def identity(self) -> tuple[str, str]:
        """What makes the file count once: an overwritten key has a new entity tag and is a new file."""
        return (self.key, self.etag)


class FileVerdict(FileRecord):
    """A file of which no row was merged: ``refused``, or ``ignored`` as a marker or leftover of a tool."""

    outcome: str
    rows: int = 0
    quarantined: int = 0
    reasons: Mapping[str, int] = Field(default_factory=dict)
    reason: str = ""
    remedy: str | None = None


class Output(Record):
    """One object that the merge wrote: key, size in bytes, entity tag."""

    key: str
    size: int
    etag: str = ""


class ContractRecord(Record):
    """The contract that a version was made under: its digest and its keys as they stood in model.yaml, the split included."""

    digest: str
    keys: Mapping[str, Any]


class Version(Document):
    """One committed version: the batch that it adds to those before it, and what became of each file of the batch."""

    version: int = Field(ge=1)
    batch: str
    created_at: str
    files: tuple[FileRecord, ...]
    """The merged files."""
    left_out: tuple[FileVerdict, ...] = ()
    """Files of the batch that were refused or ignored."""
    rows: Mapping[str, int]
    """rows_new, rows_accepted, rows_duplicate, rows_quarantined of the batch."""
    rows_by_split: Mapping[str, int]
    training: Mapping[str, tuple[Output, ...]]
    """Training CSV objects per split; none where training reads Parquet."""
    training_format: str = CSV_WITHOUT_HEADER
    data: tuple[Output, ...] = ()
    """Parquet objects."""
    beside: tuple[Output, ...] = ()
    """Row hashes, quarantine, manifest and report of the batch."""
    run_key: str = ""
    contract: ContractRecord | None = None
    boundaries: Mapping[str, str] = Field(default_factory=dict)
    """Of a split by time: its ``column``, and the times ``validation_from`` and ``test_from``; empty without one."""
    starts_anew: bool = False
    """Whether the data set begins again with this version: the batches before it belong to earlier versions only."""


class Checkpoint(Record):
    """All versions up to one, so that a reader needs no object for each."""

    versions: tuple[Version, ...]


class Judgement(Document):
    """A batch of which no file could be merged: it makes no version."""

    batch: str
    created_at: str
    files: tuple[FileVerdict, ...]
    rows: Mapping[str, int] = Field(default_factory=dict)


class ReleasedFile(Record):
    """A file of a release, and the batch whose refusal is lifted."""

    key: str
    etag: str
    batch: str


class Release(Document):
    """A person's word that refused files count as new again."""

    created_at: str
    who: str
    why: str
    accept: bool = False
    """Whether they are merged beyond the budget of bad rows."""
    files: tuple[ReleasedFile, ...]


class TrainedNote(Document):
    """A run that judged a model trained on ``version``."""

    version: int
    run_key: str
    decision: str
    model_package: str | None = None
    created_at: str = ""


class StoredObject(Record):
    """One version of an object in S3; the version is ``null`` in a bucket without versioning."""

    key: str
    version_id: str
    etag: str
    latest: bool = False


class Erasure(Document):
    """The removal of all bytes that held forgotten rows. It names no value: not what was looked for, nor a hash of it."""

    created_at: str
    who: str
    why: str
    versions: tuple[int, ...] = ()
    """Versions that can no longer be read. What they held lives on in a later one, without the forgotten rows."""
    removed: tuple[StoredObject, ...]
    """Versions of objects that are gone for good."""
