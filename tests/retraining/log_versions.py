"""Versions of a dataset log for tests."""

from retraining.dataset.records import FileRecord, Output, Version


def make_version(number: int, *, rows: int = 10, files: tuple[FileRecord, ...] = ()) -> Version:
    """A version as a merge of ``rows`` train rows would commit it."""
    key = f"abalone/dataset/training/batch={number:016x}/split=train/part-00000.csv"
    return Version(
        version=number,
        batch=f"{number:016x}",
        created_at="2026-01-01T00:00:00+00:00",
        files=files or (FileRecord(key=f"abalone/new/{number}.csv", etag=f"e{number}", size=5),),
        rows={"rows_new": rows, "rows_accepted": rows, "rows_duplicate": 0, "rows_quarantined": 0},
        rows_by_split={"train": rows, "validation": 0, "test": 0},
        training={"train": (Output(key=key, size=5),), "validation": (), "test": ()},
        run_key=f"v{number}-key",
    )
