"""The files of a batch before their rows are read: how each is laid out, or why it is passed over."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.storage import FILES_AT_ONCE, Storage
from retraining.contract.layout import Layout, inspect
from retraining.contract.names import ignored_reason
from retraining.contract.refusal import FileRefused

SMALL_TASK, LARGE_TASK, FEW_TASKS = 8 << 20, 64 << 20, 64  # bytes of text per task, and how many small tasks at most


@dataclass(frozen=True)
class Inspected:
    """What is known of the files before their rows are read, by their number in the manifest."""

    layouts: dict[int, Layout]
    refused: dict[int, FileRefused]
    ignored: dict[int, str]

    @property
    def tasks(self) -> int:
        """Number of partitions: a function of the files' content alone, because it decides the names of the files written."""
        text = sum(layout.text_bytes for layout in self.layouts.values())
        size = min(LARGE_TASK, max(SMALL_TASK, text // FEW_TASKS))
        return max(1, -(-text // size))


def inspect_files(manifest: Manifest, storage: Storage) -> Inspected:
    """Read every file once, in constant memory, and say how it is laid out or why it is passed over.

    Raises:
        ManifestError: a file is gone or was replaced.

    """
    found = Inspected({}, {}, {})

    def look(number: int) -> None:
        file = manifest.files[number]
        if reason := ignored_reason(file.key, file.size):
            found.ignored[number] = reason
            return
        try:
            found.layouts[number] = inspect(lambda: storage.stream(file), file.key, manifest.contract)
        except FileRefused as refusal:
            found.refused[number] = refusal

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        list(pool.map(look, range(len(manifest.files))))
    return found
