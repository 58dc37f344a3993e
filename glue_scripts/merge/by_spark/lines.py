"""The files of a batch as lines that Spark can read: copied first where Spark could not read them as they are."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from glue_scripts.merge.by_spark.session import fields_of, local_table
from glue_scripts.merge.inputs import Inspected
from glue_scripts.merge.manifest import Manifest, ManifestError, SourceFile
from glue_scripts.merge.storage import FILES_AT_ONCE, Storage
from retraining.contract.layout import Layout
from retraining.contract.notation.lines import CSV
from retraining.contract.reader import texts
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import SYNTHETIC, Contract
from retraining.contract.unpacking import unpacked

ABOUT_FILE = (
    "file int, delimiter string, pattern string, skips array<string>, header array<string>, columns array<int>, width int, "
    "source_at int, synthetic boolean"
)
# What Spark, Hadoop and S3's readers take for what it is: no pattern, scheme, partition or hidden file.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9.-][A-Za-z0-9_.-]{0,200}(/[A-Za-z0-9-][A-Za-z0-9_.-]{0,200})*")


def read_lines(
    spark: SparkSession, manifest: Manifest, inspected: Inspected, storage: Storage, staging: str
) -> DataFrame:
    """Read every line of the files that were let pass, with what is known about its file. One that cannot be read is refused now.

    Columns: value, plain, block (start of the input split), position (increases along the split), file (its number in the
    manifest), delimiter, pattern (that cuts at it), skips, header, columns (position in the file of each contract column), width,
    source_at, synthetic. The header is NULL for a file that has none by its notation.
    """
    files = {number: manifest.files[number] for number, layout in inspected.layouts.items() if not layout.empty}
    places = _places(files, inspected, manifest.contract, storage, staging)
    files = {number: files[number] for number in places}
    if not files:
        schema = f"value string, plain boolean, block bigint, position bigint, {ABOUT_FILE}"
        return spark.range(0).selectExpr(*(f"CAST(NULL AS {kind}) AS {name}" for name, kind in fields_of(schema)))
    text = spark.read.format("text").load([places[number] for number in sorted(places)])
    index = {_normal(uri): number for number, uri in places.items()}
    listed = {path: index.get(_normal(unquote(path)), -1) for path in text.inputFiles()}
    if set(listed.values()) != set(files):
        raise ManifestError(
            f"Spark lists other files than the manifest: {sorted(listed)[:5]} ... for {list(index)[:5]} ..."
        )
    rows = []
    for path, number in listed.items():
        layout = inspected.layouts[number]
        pattern = "\\|" if layout.delimiter == "|" else layout.delimiter
        about = (layout.delimiter, pattern, layout.skips, layout.header if layout.notation == CSV else None)
        synthetic = files[number].source == SYNTHETIC
        rows.append((path, number, *about, layout.order, layout.width, layout.source_at, synthetic))
    about_files = local_table(spark, f"path string, {ABOUT_FILE}", rows)
    lines = text.selectExpr(
        "value",
        # Nearly every line is printable ASCII without blanks, quotes and x: cut at its delimiters it is ready to be parsed.
        "value RLIKE '^[!#-WYZ\\\\[-wy-~]+$' AS plain",
        "input_file_name() AS path",
        "input_file_block_start() AS block",
        "monotonically_increasing_id() AS position",
    )
    return lines.join(F.broadcast(about_files), "path").drop("path")


def _places(
    files: Mapping[int, SourceFile], inspected: Inspected, contract: Contract, storage: Storage, staging: str
) -> dict[int, str]:
    """Return where Spark reads each file. A key that it would misread is copied, content that it cannot read is written as lines."""

    def place(number: int) -> str | None:
        file, layout = files[number], inspected.layouts[number]
        packed = layout.packed == "gzip" and layout.members == 1 and file.key.endswith(".gz")
        if contract.multiline or layout.notation != CSV or (layout.packed and not packed):
            uri = f"{staging}/input/{number:06d}.txt"
            try:
                _write_lines(file, uri, layout, contract, storage)
            except FileRefused as refusal:
                inspected.refused[number] = refusal
                return None
            return uri
        if _PLAIN_KEY.fullmatch(file.key) and not storage.is_folder(file):
            return file.uri
        uri = f"{staging}/input/{number:06d}.txt{'.gz' if packed else ''}"
        storage.copy(file, uri)
        return uri

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        found = dict(zip(files, pool.map(place, files), strict=True))
    for number in inspected.refused:
        inspected.layouts.pop(number, None)
    return {number: uri for number, uri in found.items() if uri is not None}


def _write_lines(file: SourceFile, uri: str, layout: Layout, contract: Contract, storage: Storage) -> None:
    """Write a file's rows as lines for Spark; one that spans lines becomes one, followed by blank ones, so that line numbers stay."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines"
        with path.open("wb") as target:
            if layout.notation == CSV and not contract.multiline:
                with storage.stream(file) as stream:
                    target.writelines(unpacked(stream, file.key))
            else:
                written = 0
                for number, text in texts(lambda: storage.stream(file), file.key, contract, layout):
                    target.write(b"\n" * (number - 1 - written) + text.encode() + b"\n")
                    written = number
        storage.upload(path, uri)


def _normal(uri: str) -> str:
    """Bring the slashes after a scheme into one form (Hadoop prints file:/x and file:///x)."""
    return re.sub(r"^file:/*", "file:/", uri)
