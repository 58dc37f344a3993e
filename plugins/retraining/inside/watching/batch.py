"""Scores files with a model artifact, row by row, each file for itself.

Runs as a SageMaker processing job. A file is read as the merge reads it, under the contract that lies in the artifact; its good rows are
answered by the artifact's own serving code, in processes of its own, so that a row gets the answer that an endpoint would give.

Input: ``job`` (``job.json`` with ``files``: name, key), ``model`` (``model.tar.gz``) and ``files``. Output, in a folder for each file,
``000000`` and so on: ``scored.csv`` (line, the columns of the file, the answer, its explanation if that is asked for, the model),
``rejected.csv`` (line, reasons, the line as it came), both unless the file is refused, and ``report.json``.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from retraining.contract.layout import UNSCORED_SPLIT, Layout, inspect_unscored
from retraining.contract.notation.lines import CSV, LINE_FEED
from retraining.contract.plain_text import plain
from retraining.contract.reader import Line, read
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Contract, cut
from retraining.contract.values import Value
from retraining.contract.verdict import over_budget
from retraining.inside.artifact import CARD_FILE
from retraining.inside.artifact_process import ARCHIVE, ArtifactError, ArtifactProcess, ArtifactRefusal, require
from retraining.inside.frames import iso
from retraining.inside.job_file import Job
from retraining.inside.watching.look import artifact_documents

CHUNK_CELLS = 20_000
"""Values in one request: large enough that requests cost little, small enough that a bad row is found soon."""
PROCESSES = max(1, min(8, len(os.sched_getaffinity(0))))
EXPLAINED_CELLS = 200
"""The same of rows to be explained, which cost thousands of answers each."""
LINE, PREDICTION, PROBABILITY, MODEL = "line", "prediction", "probability", "model"
BASE, EFFECT = "base", "effect"


@dataclass
class Report:
    """What became of a file: ``report.json``."""

    key: str
    model: str
    outcome: str = "scored"
    rows: int = 0
    scored: int = 0
    rejected: int = 0
    unexplained: int = 0
    """Scored rows whose explanation was asked for and is not there; why, of the first."""
    why_unexplained: str | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    reason: str | None = None
    """Why the file is refused; of a scored file why so many of its rows were rejected that somebody should look."""
    remedy: str | None = None

    def refuse(self, reason: str, remedy: str) -> Report:
        """Refuse the whole file."""
        self.outcome, self.reason, self.remedy = "refused", reason, remedy
        self.scored, self.rejected = 0, self.rows
        return self

    def as_json(self) -> dict[str, Any]:
        """Return the document."""
        return {**self.__dict__, "reasons": dict(self.reasons.most_common(50))}


class UnansweredError(ValueError):
    """The model answered no row of a file that the contract let pass."""


def run(job: Job, inputs: Path, output: Path) -> int:
    """Score the files of a job.

    Args:
        job: the files, and the contract of an artifact that brings none.
        inputs: folders ``model`` and ``files``.
        output: where the results go.

    Raises:
        ArtifactError: the model answers no row of any file; or it cannot be unpacked.
        ExchangedError: it is not the one that was pinned.

    """
    archive, sha256 = inputs / "model" / ARCHIVE, job.artifacts.get("model")
    require(archive, "model", sha256)
    contract = artifact_contract(archive) or job.contract
    failed = []
    answered = False
    with ExitStack() as stack:
        processes = [stack.enter_context(ArtifactProcess(inputs / "model", "model", sha256)) for _ in range(PROCESSES)]
        for number, file in enumerate(job.files):
            folder = output / f"{number:06d}"
            folder.mkdir(parents=True, exist_ok=True)
            report = Report(file["key"], job.version)
            for process in processes:
                process.be_ready()
            try:
                score_file(inputs / "files" / file["name"], contract, processes, folder, report, job.explain)
            except FileRefused as refusal:
                report.refuse(refusal.reason, refusal.remedy)
            except UnansweredError as error:
                failed.append(str(error))
                report.refuse(str(error), "look for what the rows have in common, or score them with another model")
            except ArtifactError as error:
                answered |= report.scored > 0
                failed.append(str(error))
                report.refuse(
                    f"{error}; it was asked about the rows after the first {report.rows:,}",
                    "find the row that the model does not bear and take it out, or score the file with another model",
                )
            answered |= report.scored > 0
            if report.outcome == "refused":
                for path in folder.iterdir():
                    path.unlink()
            text = json.dumps(report.as_json(), indent=1, ensure_ascii=False)
            (folder / "report.json").write_text(text + "\n", encoding="utf-8")
            print(
                f"{plain(report.key)}: {report.outcome}, {report.scored:,} rows scored, {report.rejected:,} set aside"
            )
    if failed and not answered:
        raise ArtifactError(f"no file was answered: {failed[0]}")
    return 0


def artifact_contract(archive: Path) -> Contract | None:
    """Return the contract of an artifact's card; None when it has no card, as that of a training script of one's own."""
    card = artifact_documents(archive, (CARD_FILE,)).get(CARD_FILE, {})
    return Contract.of(card["contract"]) if "contract" in card else None


def score_file(
    path: Path,
    contract: Contract,
    processes: Sequence[ArtifactProcess],
    folder: Path,
    report: Report,
    explain: bool = False,
) -> None:
    """Score one file into ``folder``, in constant memory, and explain its rows if asked to.

    Raises:
        FileRefused: it is no file of rows of this contract.
        UnansweredError: the model answered none of its rows.
        ArtifactError: the model ended over a row, or gave other answers than one a row.

    """
    judged, layout = inspect_unscored(lambda: path.open("rb"), report.key, contract)
    header = _headings(layout, judged)
    lines = () if layout.empty else read(lambda: path.open("rb"), report.key, judged, layout, UNSCORED_SPLIT)
    names = [column.name for column in judged.columns if column.name != contract.target]
    with ExitStack() as stack:
        scored, rejected = (
            csv.writer(stack.enter_context((folder / name).open("w", encoding="utf-8", newline="")))
            for name in ("scored.csv", "rejected.csv")
        )
        rejected.writerow((LINE, "reasons", "row"))
        wrote_header = False
        last_refusal = ""
        size = max(1, (EXPLAINED_CELLS if explain else CHUNK_CELLS) // len(names))
        question = Question(names, judged, explain)
        for piece in _answered(_pieces(lines, size), question, processes):
            for line, answer in piece:
                report.rows += 1
                if isinstance(answer, str):
                    report.rejected += 1
                    reasons = line.reasons or (answer,)
                    last_refusal = answer or last_refusal
                    report.reasons.update(line.reasons or ("the model does not answer the row",))
                    rejected.writerow((line.number, "; ".join(reasons), line.raw.replace(LINE_FEED, "\n")))
                    continue
                if not wrote_header:
                    scored.writerow(_header(header, answer, question))
                    wrote_header = True
                cells = [cell.replace(LINE_FEED, "\n") for cell in cut(line.raw, layout.delimiter)]
                scored.writerow((line.number, *cells, *answer.cells, report.model))
                report.scored += 1
                report.unexplained += bool(answer.unexplained)
                report.why_unexplained = report.why_unexplained or answer.unexplained or None
        if not wrote_header:
            scored.writerow((LINE, *header, PREDICTION, MODEL))
    if last_refusal and not report.scored:
        raise UnansweredError(f"the model answered none of {report.rows:,} rows; the last reason: {last_refusal}")
    report.reason = over_budget(report.rejected, report.rows, contract, report.reasons)


def _headings(layout: Layout, contract: Contract) -> list[str]:
    """Return the names of the cells of a line: the file's own, or those of the contract."""
    if layout.notation == CSV and any(isinstance(place, str) for _, place in layout.columns):
        return cut(layout.skips[-1], layout.delimiter)
    return [*contract.names, *(() if layout.source_at is None else ("source",))]


@dataclass(frozen=True)
class Question:
    """What the model is asked about rows."""

    names: Sequence[str]
    """Columns that it needs."""
    contract: Contract
    """Says where they stand in a line."""
    explain: bool

    def ask(self, process: ArtifactProcess, lines: Sequence[Line]) -> None:
        """Ask about the rows of lines, as a client would."""
        places = [self.contract.position[name] for name in self.names]
        rows = [
            {name: _plain(line.values[place]) for name, place in zip(self.names, places, strict=True)} for line in lines
        ]
        body = {"instances": rows, **({"explain": True} if self.explain else {})}
        process.ask(body=json.dumps(body), content_type="application/json")

    def without_effects(self, answer: Answer, reason: str) -> Answer:
        """Return an answer with empty cells where its explanation would be."""
        return replace(answer, cells=(*answer.cells, *("" for _ in (BASE, *self.names))), unexplained=reason)

    def with_effects(self, answer: Answer, explanation: Mapping[str, Any]) -> Answer:
        """Return an answer with its explanation."""
        values = [explanation["base"], *(explanation["values"][name] for name in self.names)]
        return replace(answer, cells=(*answer.cells, *map(_shown, values)))


@dataclass(frozen=True)
class Answer:
    """The answer for a row, as it is written, and the classes that its probabilities are of."""

    cells: tuple[str, ...]
    classes: tuple[str, ...] = ()
    unexplained: str = ""
    """Why the cells of the effects, which were asked for, are empty."""


def _header(names: Sequence[str], answer: Answer, question: Question) -> list[str]:
    why = [BASE, *(f"{EFFECT}_{name}" for name in question.names)] if question.explain else []
    added = [PREDICTION, *(f"{PROBABILITY}_{name}" for name in answer.classes), *why, MODEL]
    taken = {LINE, *added}
    return [LINE, *(f"{name}_" if name in taken else name for name in names), *added]


def _pieces(lines: Iterator[Line] | tuple[()], size: int) -> Iterator[list[Line]]:
    piece: list[Line] = []
    good = 0
    for line in lines:
        piece.append(line)
        good += not line.reasons
        if good == size or len(piece) == 10 * size:
            yield piece
            piece, good = [], 0
    if piece:
        yield piece


def _answered(
    pieces: Iterator[list[Line]], question: Question, processes: Sequence[ArtifactProcess]
) -> Iterator[list[tuple[Line, Answer | str]]]:
    """Yield each line with its answer, or with the reason of the model's refusal (empty for a line that the contract refuses)."""
    idle, asked = deque(processes), deque[tuple[ArtifactProcess, list[Line]]]()
    for piece in pieces:
        if not idle:
            process, earlier = asked.popleft()
            yield _collected(process, earlier, question)
            idle.append(process)
        process = idle.popleft()
        if good := [line for line in piece if not line.reasons]:
            question.ask(process, good)
        asked.append((process, piece))
    for process, piece in asked:
        yield _collected(process, piece, question)


def _collected(process: ArtifactProcess, piece: list[Line], question: Question) -> list[tuple[Line, Answer | str]]:
    good = [line for line in piece if not line.reasons]
    answers = iter(_answers(process, good, question) if good else ())
    return [(line, "" if line.reasons else next(answers)) for line in piece]


def _answers(process: ArtifactProcess, lines: Sequence[Line], question: Question) -> list[Answer | str]:
    """Return the answers of a request that was asked. A refused one is asked again in halves, until the refused row stands alone."""
    try:
        found = process.answer()
    except ArtifactRefusal as refusal:
        if len(lines) == 1 and question.explain:
            without = replace(question, explain=False)
            without.ask(process, lines)
            [answer] = _answers(process, lines, without)
            return [answer if isinstance(answer, str) else question.without_effects(answer, refusal.reason)]
        if len(lines) == 1:
            return [refusal.reason]
        halves: list[Answer | str] = []
        for half in (lines[: len(lines) // 2], lines[len(lines) // 2 :]):
            question.ask(process, half)
            halves += _answers(process, half, question)
        return halves
    predictions, probabilities, explanations = (
        found.get(name) for name in ("predictions", "probabilities", "explanations")
    )
    for name, values in (
        ("predictions", predictions),
        ("probabilities", probabilities),
        ("explanations", explanations),
    ):
        if (values is not None or name == "predictions") and (
            not isinstance(values, list) or len(values) != len(lines)
        ):
            raise ArtifactError(f"the model answered {len(lines)} rows without as many {name}")
    assert predictions is not None
    if probabilities is None:
        answers = [Answer((_shown(value),)) for value in predictions]
    else:
        widths = {len(shares) if isinstance(shares, list) else 0 for shares in probabilities}
        classes = tuple(map(str, found.get("classes") or range(max(widths))))
        if widths != {len(classes)}:
            raise ArtifactError(
                f"the model answered {len(lines)} rows without one probability for each class in each row"
            )
        answers = [
            Answer((_shown(value), *map(_shown, shares)), classes)
            for value, shares in zip(predictions, probabilities, strict=True)
        ]
    if not question.explain:
        return list(answers)
    if explanations is None:
        return [question.without_effects(answer, "the model does not explain its answers") for answer in answers]
    return [question.with_effects(answer, why) for answer, why in zip(answers, explanations, strict=True)]


def _plain(value: Value | None) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else iso(value)


def _shown(value: Any) -> str:
    return repr(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
