"""The watch over a model in service as plain functions: which captures are new, the job that reads them, what is kept between looks.

``NAME/monitor/state/VERSION.json`` has what the drift detectors of one model have gathered; a new model begins anew. The incidents are
``incidents/000001.json`` and so on, of which at most the newest is open.

Labels are files below ``NAME/monitor/labels/``. What a look reads of them is copied beside it, so that a repeated one reads the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from retraining.aws.naming import digest
from retraining.contract.names import ignored_reason
from retraining.jobs.requests import CAPTURED, VARIANT, library_job
from retraining.serving.batch import Scorer, numbered
from retraining.serving.inference_ids import NO_USE
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform
from retraining.settings.strict import Strict

LABELS = "monitor/labels/"
STATE, INCIDENTS, WORK, PAGE = "monitor/state/", "monitor/incidents/", "monitor/work/", "monitor/page.html"
LOOK_FILE = "look.json"
ANSWERS_FILE, LEDGER_FILE = "answers.bin", "labels.bin"
"""Beside it: the answers that a look read, and the labels that have come; a test compares with ``inside.watching``."""
CAPTURES_OF_A_JOB = 5_000
LABEL_FILES_OF_A_LOOK = 500
LABEL_BYTES_OF_A_LOOK = 256 * 2**20
"""Of the copies of label files; a larger file is refused."""
OVERLAP = timedelta(days=1)
"""A capture file may appear under an hour that has passed already."""
HISTORY = 400
"""Looks that are remembered for the page."""


def captured_prefix(config: ModelConfig) -> str:
    """Return where the endpoint's captures lie, below the model's prefix."""
    return f"{CAPTURED}{config.endpoint}/{VARIANT}/"


def look_output(look: str) -> str:
    """Return where the job of a look writes, below the model's prefix."""
    return f"{WORK}{look}/out/"


def first_key(prefix: str, since: datetime) -> str:
    """Return the key after which captures are listed: that of the hour, a day before the last look."""
    return f"{prefix}{since - OVERLAP:%Y/%m/%d/%H/}"


def begun(state: Mapping[str, Any] | None, prefix: str, deployed: datetime) -> dict[str, Any]:
    """Return the state of a model that begins to serve, or serves again: what it gathered before, and from where its captures count.

    Args:
        state: what is kept of this model, None before it served for the first time.
        prefix: of its captures' keys.
        deployed: since when it serves; what was captured before was answered by another one.

    """
    empty: dict[str, Any] = {"looked_at": None, "detectors": {}, "seen": [], "history": [], "rows": 0, "look": ""}
    since = deployed.astimezone(UTC)
    return {**empty, **(state or {}), "deployed_at": since.isoformat(), "from": first_key(prefix, since)}


def serves_on(state: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether a model has served since its state began: none of the others began later.

    When the endpoint last changed does not tell it: it changes without another model, too, for example its machine.

    Args:
        state: of the model that serves.
        others: of the models beside it.

    """
    began = datetime.fromisoformat(state["deployed_at"])
    return all(datetime.fromisoformat(other["deployed_at"]) <= began for other in others)


def new_captures(items: Iterable[Mapping[str, Any]], state: Mapping[str, Any]) -> tuple[list[str], int]:
    """Return the keys of the captures that no look has read, and how many are left for the next look.

    Args:
        items: entries of an S3 listing, in order of their keys.
        state: what is kept of the model that serves.

    """
    seen, deployed = set(state["seen"]), datetime.fromisoformat(state["deployed_at"])
    found = [
        item["Key"] for item in items if item["Key"] not in seen and item["Size"] and item["LastModified"] >= deployed
    ]
    return found[:CAPTURES_OF_A_JOB], max(0, len(found) - CAPTURES_OF_A_JOB)


def was_read(state: Mapping[str, Any], captures: Iterable[str], document: Mapping[str, Any]) -> bool:
    """Tell whether a look that was judged has read any file of another one, which is then too late: what it has beside that is read anew.

    Args:
        state: of the model, as the look that was judged last has left it.
        captures: keys that the look read.
        document: its ``job.json``.

    """
    seen = set(state["seen"])
    labels = {(key, etag) for key, etag, _ in state.get("label_files", ())}
    return any(key in seen or key <= state["from"] for key in captures) or any(
        (file["key"], file["etag"]) in labels for file in document.get("files", ())
    )


def next_first_key(prefix: str, at: datetime, captures: Sequence[str], left: int) -> str:
    """Return the key after which the next look lists. What is left for it stays in the list, however old it has become.

    Args:
        prefix: of the captures' keys.
        at: time of this look.
        captures: keys that this look reads, in their order.
        left: how many it leaves.

    """
    key = first_key(prefix, at)
    return min(key, captures[-1].rpartition("/")[0] + "/") if left else key


class LabelFile(Strict):
    """An object below ``monitor/labels/``."""

    key: str
    etag: str
    size: int
    came: int
    """When it was written, in seconds since 1970."""

    @property
    def identity(self) -> list[Any]:
        """What a state remembers of it."""
        return [self.key, self.etag, self.came]


def new_labels(
    items: Iterable[Mapping[str, Any]], state: Mapping[str, Any], now: datetime, label_days: float
) -> tuple[list[LabelFile], int]:
    """Return the label files that no look has read, those that came first at the front, and how many are left for the next look.

    Args:
        items: entries of an S3 listing.
        state: what is kept of the model that serves; labels that came before it served belong to no answer of it.
        now: time of this look.
        label_days: files that are older wait no longer.

    """
    seen = {(key, etag) for key, etag, _ in state.get("label_files", ())}
    since = max(datetime.fromisoformat(state["deployed_at"]), now - timedelta(days=label_days))
    found = [
        LabelFile(
            key=item["Key"], etag=item["ETag"].strip('"'), size=item["Size"], came=int(item["LastModified"].timestamp())
        )
        for item in items
        if item["LastModified"] >= since and not ignored_reason(item["Key"].partition(LABELS)[2], item["Size"])
    ]
    waiting = sorted(
        (file for file in found if (file.key, file.etag) not in seen), key=lambda file: (file.came, file.key)
    )
    chosen, room = [], LABEL_BYTES_OF_A_LOOK
    for file in waiting[:LABEL_FILES_OF_A_LOOK]:
        room -= 0 if is_too_large(file) else file.size
        if room < 0:
            break
        chosen.append(file)
    return chosen, len(waiting) - len(chosen)


def is_too_large(file: LabelFile) -> bool:
    """Tell whether a label file is refused without being read."""
    return file.size > LABEL_BYTES_OF_A_LOOK


def as_of(items: Iterable[Mapping[str, Any]], captures: Sequence[str], labels: Sequence[LabelFile]) -> int:
    """Return when the newest file that a look reads came, in seconds since 1970: the same for a repeated look."""
    read = set(captures)
    came = [int(item["LastModified"].timestamp()) for item in items if item["Key"] in read]
    return max([*came, *(file.came for file in labels)])


def kept_for_labels(state: Mapping[str, Any], now: int, label_days: float) -> tuple[list[str], str | None]:
    """Return the looks whose answers still wait for labels, and the look whose ledger of labels is carried on, if any.

    Args:
        state: what is kept of the model that serves.
        now: ``as_of`` of this look.
        label_days: how long they wait.

    """
    before = now - label_days * 86_400
    ledger = state.get("ledger")
    looks = [look for look, at in state.get("answers", ()) if at >= before]
    return looks, ledger[0] if ledger and ledger[1] >= before else None


def label_state(
    state: Mapping[str, Any], look: str, document: Mapping[str, Any], found: Mapping[str, Any] | None, captured: bool
) -> dict[str, Any]:
    """Return what a state keeps of labels after a look.

    Args:
        state: as it was before.
        look: that was taken.
        document: its ``job.json``.
        found: part ``labels`` of its ``look.json``, None without labels.
        captured: whether it read captures, so that it kept their answers.

    """
    if not document.get("label_days"):
        return {}
    now = document["as_of"]
    before = now - document["label_days"] * 86_400
    left = set(found["left"]) if found else set()
    read = [[file["key"], file["etag"], file["came"]] for file in document.get("files", ()) if file["key"] not in left]
    own = [[look, now]] if captured else []
    return {
        "answers": [[name, at] for name, at in (*state.get("answers", ()), *own) if at >= before],
        "ledger": [look, now] if found else state.get("ledger"),
        "label_files": [entry for entry in (*state.get("label_files", ()), *read) if entry[2] >= before],
    }


def job_document(
    config: ModelConfig,
    captures: Sequence[str],
    sha256: str | None = None,
    labels: Sequence[LabelFile] = (),
    as_of: int = 0,
) -> dict[str, Any]:
    """Return ``job.json`` of a look.

    Args:
        config: the model's configuration.
        captures: keys of the capture files.
        sha256: of the model's artifact, which is loaded if rows are to be explained.
        labels: files with labels; each lies in the job's input under its number.
        as_of: when the newest file that it reads came, in seconds since 1970.

    """
    days = config.monitor.label_days
    files = [{"name": numbered(at), **file.model_dump()} for at, file in enumerate(labels)]
    explained = config.monitor.explained_rows
    return {
        "schema_version": 1,
        "step": "look",
        "model": config.name,
        "task": config.task,
        "contract": config.contract.model_dump(mode="json"),
        "left_out": list(NO_USE),
        "captures": digest(list(captures)),
        **({"label_days": days, "as_of": as_of, "files": files} if days else {}),
        **({"explained_rows": explained, "artifacts": {"model": sha256} if sha256 else {}} if explained else {}),
    }


def look_request(config: ModelConfig, platform: Platform, scorer: Scorer, places: Mapping[str, str]) -> dict[str, Any]:
    """CreateProcessingJob that reads captured requests.

    Args:
        config: the model's configuration.
        platform: bucket and role.
        scorer: the model that serves.
        places: S3 URIs: ``code``, ``job``, ``output``, and as far as there are some ``captured`` and ``answers`` (manifests), ``labels``
            and ``ledger``.

    """
    inputs = {**places, "model": scorer.model_data}
    output = ("look", inputs.pop("output"))
    return library_job(platform, scorer.image, config.monitor, inputs, output, manifests=("captured", "answers"))


def days_since(state: Mapping[str, Any], now: datetime) -> float:
    """Return the days since the look before, or since the model serves; a look counts as an hour at least."""
    before = datetime.fromisoformat(state["looked_at"] or state["deployed_at"])
    return max((now - before.astimezone(UTC)) / timedelta(days=1), 1 / 24)
