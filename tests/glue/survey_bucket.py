"""A bucket on disk to run the Glue job on, and lines that meet the Abalone contract."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
import yaml
from pyspark.sql import SparkSession

from glue_scripts.merge.in_memory import rows
from glue_scripts.merge.job import merge
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.storage import Storage

ROOT = Path(__file__).resolve().parents[2]
MODEL = yaml.safe_load((ROOT / "dags/models/abalone/model.yaml").read_text())
COLUMNS = tuple(column["name"] for column in MODEL["contract"]["columns"])


@dataclass
class Bucket:
    """A bucket as a folder: files go in by key, batches are merged, results are read back without Spark."""

    root: Path
    spark: SparkSession
    by_spark: bool = False

    def put(self, key: str, body: str | bytes) -> str:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
        return key

    def manifest(
        self,
        batch: str,
        files: Sequence[str],
        *,
        synthetic: Sequence[str] = (),
        history: Sequence[str] = (),
        beyond_budget: Sequence[str] = (),
        more: Mapping[str, Mapping[str, Any]] | None = None,
        split: Mapping[str, Any] = MODEL["split"],
        boundaries: Mapping[str, str] | None = None,
        training_format: str = "csv_without_header",
        **contract: Any,
    ) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "model": "abalone",
            "run_key": f"run-{batch}",
            "batch": batch,
            "bucket": self.root.as_uri(),
            "prefix": "abalone/",
            "files": [
                {
                    "key": key,
                    "etag": None,
                    "size": (self.root / key).stat().st_size,
                    "version_id": None,
                    "source": "synthetic" if key in synthetic else "survey",
                    **({"beyond_budget": True} if key in beyond_budget else {}),
                    **(more or {}).get(key, {}),
                }
                for key in (*files, *synthetic)
            ],
            "contract": {**MODEL["contract"], **contract},
            "split": dict(split),
            "boundaries": dict(boundaries or {}),
            "training_format": training_format,
            "history": list(history),
            "output": f"{self.root.as_uri()}/abalone/dataset/",
            "quarantine": f"{self.root.as_uri()}/abalone/quarantine/",
            "report": f"{self.root.as_uri()}/abalone/runs/run-{batch}/etl_report.json",
        }

    def merge(self, batch: str, files: Sequence[str] = (), **options: Any) -> dict[str, Any]:
        report = self.merged(Manifest.of(self.manifest(batch, files, **options)))
        counts = report["rows_accepted"] + report["rows_duplicate"] + report["rows_quarantined"]
        assert report["rows_new"] == counts == sum(file["rows"] for file in report["files"])
        assert json.loads(json.dumps(report)) == report
        return report

    def merged(self, manifest: Manifest) -> dict[str, Any]:
        """Merge as it is set, whatever the size."""
        with mock.patch.multiple(rows, MOST_TEXT=1 << 40, MOST_PLAIN_TEXT=-1 if self.by_spark else 1 << 40):
            report = merge(manifest, Storage(), lambda: self.spark)
        assert (report["spark_version"] is not None) is self.by_spark
        return report

    def data(self, *batches: str) -> dict[str, list[dict[str, Any]]]:
        """Rows per split, in the order of the files."""
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in MODEL["split"]}
        for batch in batches:
            for path in sorted((self.root / f"abalone/dataset/data/batch={batch}").rglob("*.parquet")):
                found[path.parent.name.removeprefix("split=")] += pq.ParquetFile(path).read().to_pylist()
        return found

    def quarantine(self, batch: str) -> list[dict[str, Any]]:
        files = sorted((self.root / f"abalone/quarantine/batch={batch}").glob("*.json"))
        return [json.loads(line) for path in files for line in path.read_text("utf-8").split("\n") if line]

    def bytes(self, *folders: str) -> dict[str, bytes]:
        """Content of every published file; Hadoop's local checksum files are left out."""
        paths = [path for folder in folders for path in (self.root / folder).rglob("*") if path.is_file()]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in paths if path.suffix != ".crc"}


def line_of(number: int) -> str:
    """A line that meets the contract; different numbers give different lines."""
    length = round(0.3 + number % 5000 / 10000, 4)
    return f"{'MFI'[number % 3]},{length},{round(length * 0.8, 4)},0.1,{round(1 + number / 100000, 5)},0.4,0.2,0.3,{3 + number % 20}"
