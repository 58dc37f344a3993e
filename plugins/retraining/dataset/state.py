"""What the dataset log says at one moment: pure arithmetic on its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from retraining.aws.naming import digest
from retraining.contract.notation.training_format import CSV_WITHOUT_HEADER, PARQUET
from retraining.dataset.records import REFUSED, Erasure, FileRecord, FileVerdict, Judgement, Output, Release, Version


@dataclass(frozen=True)
class JudgedFile:
    """A verdict on a file, and the batch and time of it."""

    batch: str
    created_at: str
    file: FileVerdict


@dataclass(frozen=True)
class LogState:
    """What the log says at one moment."""

    versions: tuple[Version, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    releases: tuple[Release, ...] = ()
    trained: frozenset[int] = frozenset()
    erasures: tuple[Erasure, ...] = ()

    @property
    def latest(self) -> int:
        """Number of the newest version, 0 for an empty log."""
        return self.versions[-1].version if self.versions else 0

    @cached_property
    def current(self) -> tuple[Version, ...]:
        """The versions whose batches make up the newest one."""
        starts = [position for position, version in enumerate(self.versions) if version.starts_anew]
        return self.versions[starts[-1] if starts else 0 :]

    @property
    def batches(self) -> tuple[str, ...]:
        """Digests of the batches that make up the newest version, in log order."""
        return tuple(version.batch for version in self.current)

    @property
    def untrained(self) -> bool:
        """Whether the newest version that added rows has no judged model yet."""
        with_rows = [version.version for version in self.current if version.rows_by_split.get("train", 0) > 0]
        return bool(with_rows) and not any(trained >= with_rows[-1] for trained in self.trained)

    def gathering(self, least: int) -> str:
        """Return in words that the rows since the newest version with a judged model are too few for a training, else nothing.

        Args:
            least: how many a training needs (``schedule.min_rows``). A first model needs none: it trains on what there is.

        """
        if not self.untrained or not self.trained:
            return ""
        judged = max(self.trained)
        rows = sum(version.rows.get("rows_accepted", 0) for version in self.current if version.version > judged)
        if rows >= least:
            return ""
        came = (
            f"{rows} row{'' if rows == 1 else 's'} came since dataset version {judged}, the newest with a judged model"
        )
        return f"{came}: a training waits for {least} (schedule.min_rows)"

    @cached_property
    def known_files(self) -> frozenset[tuple[str, str]]:
        """Identities of the files that nobody has to look at again: merged, refused and not released, or ignored."""
        merged = frozenset(record.identity for version in self.current for record in version.files)
        return merged | {judged.file.identity for judged in self._verdicts() if not self._is_released(judged)}

    @cached_property
    def refused_files(self) -> list[JudgedFile]:
        """The refusals that stand, oldest first."""
        verdicts = (judged for judged in self._verdicts() if judged.file.outcome == REFUSED)
        return sorted(
            (judged for judged in verdicts if not self._is_released(judged)), key=lambda judged: judged.created_at
        )

    @cached_property
    def attempts(self) -> Mapping[tuple[str, str], int]:
        """How often each file was released, by identity."""
        return Counter((file.key, file.etag) for release in self.releases for file in release.files)

    @cached_property
    def accepted(self) -> frozenset[tuple[str, str]]:
        """Identities of the files that a person accepted beyond the budget."""
        return frozenset((file.key, file.etag) for release in self.releases if release.accept for file in release.files)

    def at(self, number: int) -> LogState:
        """Return the state as of version ``number``.

        Raises:
            LookupError: there is no such version.

        """
        if not 1 <= number <= self.latest:
            raise LookupError(f"dataset version {number} does not exist: the log has versions 1 to {self.latest}")
        trained = frozenset(version for version in self.trained if version <= number)
        return LogState(self.versions[:number], self.judgements, self.releases, trained, self.erasures)

    def readable_at(self, number: int) -> LogState:
        """Return the state as of version ``number``, whose rows are to be read.

        Raises:
            LookupError: there is no such version, or its rows were erased.

        """
        state = self.at(number)
        for erasure in self.erasures:
            if number in erasure.versions:
                raise LookupError(
                    f"dataset version {number} was erased on {erasure.created_at[:10]} ({erasure.why}): it held rows that are to be "
                    f"forgotten; the newest version, {self.latest}, has the others"
                )
        return state

    @cached_property
    def erased(self) -> frozenset[int]:
        """Numbers of the versions whose rows are gone for good."""
        return frozenset(number for erasure in self.erasures for number in erasure.versions)

    @property
    def boundaries(self) -> Mapping[str, str]:
        """Of a split by time its column and the times that divide the newest version, as versions record them; else empty."""
        return next((version.boundaries for version in reversed(self.versions) if version.boundaries), {})

    def training_objects(self, split: str, form: str) -> list[Output]:
        """Objects of one split of the newest version as jobs read them, in log order.

        Args:
            split: train, validation or test.
            form: ``training.format`` of model.yaml.

        """
        if form == PARQUET:
            folder = f"/split={split}/"
            return [output for version in self.current for output in version.data if folder in output.key]
        return [output for version in self.current for output in version.training.get(split, ())]

    def rows_by_split(self) -> dict[str, int]:
        """Rows per split of the newest version."""
        total: dict[str, int] = {}
        for version in self.current:
            for split, rows in version.rows_by_split.items():
                total[split] = total.get(split, 0) + rows
        return total

    def _verdicts(self) -> Iterator[JudgedFile]:
        for version in self.versions:
            for file in version.left_out:
                yield JudgedFile(version.batch, version.created_at, file)
        for judgement in self.judgements:
            for file in judgement.files:
                yield JudgedFile(judgement.batch, judgement.created_at, file)

    @cached_property
    def _lifted(self) -> frozenset[tuple[str, str, str]]:
        return frozenset((file.key, file.etag, file.batch) for release in self.releases for file in release.files)

    def _is_released(self, judged: JudgedFile) -> bool:
        return (*judged.file.identity, judged.batch) in self._lifted


def batch_digest(
    files: Iterable[FileRecord],
    contract: Mapping[str, Any],
    split: Mapping[str, Any],
    history: Sequence[str],
    form: str = CSV_WITHOUT_HEADER,
) -> str:
    """Return the address of the batch that these files make under this contract and split after this history, in a training format.

    The order of the files does not matter. The history does: rows that it has already are dropped from the batch. So do releases: a file
    that was refused and released is judged anew.
    """
    listed = sorted(
        (file.key, file.etag, file.source, file.attempt, file.beyond_budget, file.read_etag) for file in files
    )
    other = {} if form == CSV_WITHOUT_HEADER else {"format": form}
    return digest({"files": listed, "contract": contract, "split": split, "history": list(history), **other})


def new_files(landed: Iterable[FileRecord], state: LogState) -> list[FileRecord]:
    """Return the landed files that the log does not know or that were released, in key order."""
    known = state.known_files
    fresh = sorted((record for record in landed if record.identity not in known), key=lambda record: record.key)
    return [
        record.model_copy(update={"attempt": attempt, "beyond_budget": record.identity in state.accepted})
        if (attempt := state.attempts.get(record.identity, 0))
        else record
        for record in fresh
    ]


def manifest_entries(bucket: str, prefix: str, outputs: Sequence[Output]) -> list[Any]:
    """Return a SageMaker ``ManifestFile`` document for these objects: the common prefix, then relative keys."""
    parquet = outputs and outputs[0].key.startswith(f"{prefix}dataset/data/")
    root = f"{prefix}dataset/{'data' if parquet else 'training'}/"
    return [{"prefix": f"s3://{bucket}/{root}"}, *(output.key.removeprefix(root) for output in outputs)]
