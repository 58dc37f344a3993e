"""The verdict of the merge on files, without a stack: ``python -m retraining.command.check_file PATH``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from retraining.command.piped import until_nobody_reads
from retraining.contract.plain_text import plain, plain_lines
from retraining.contract.rules import Contract
from retraining.contract.verdict import IGNORED, MERGED, REFUSED, Verdict, judge_file
from retraining.settings.model_config import ConfigError, ModelConfig, load_model_config

MODELS = Path("dags/models")
SPREAD, WRONG_USE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge files; 0 when all would be merged whole, 1 otherwise, 2 for wrong use."""
    parser = argparse.ArgumentParser(
        prog="python -m retraining.command.check_file",
        description="Say what the merge would do with a file, or with each file of a folder.",
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--model", default="abalone", help="folder of the model below dags/models, or a path to one")
    parser.add_argument("--json", action="store_true", help="one JSON object a file on standard output, nothing else")
    chosen = parser.parse_args(arguments)
    try:
        config = load_model_config(_folder(chosen.model) / "model.yaml")
        files = list(_files(chosen.path))
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"error: {plain_lines(error)}\n")
        return WRONG_USE
    whole, merged = True, False
    if not chosen.json:
        _say(f"{len(files)} file{'' if len(files) == 1 else 's'} against the contract of {config.name}")
    for path in files:
        verdict = judge(path, chosen.path, config)
        whole = whole and verdict.outcome != REFUSED and not verdict.quarantined
        merged = merged or verdict.outcome == MERGED
        _say(json.dumps(verdict.as_json(), ensure_ascii=False) if chosen.json else table(verdict))
    return 0 if whole and merged else SPREAD


def judge(path: Path, root: Path, config: ModelConfig) -> Verdict:
    """Judge one file as if it had landed under its path below `root`."""
    contract = Contract.of(config.contract.model_dump())
    key = path.relative_to(root).as_posix() if root.is_dir() else path.name
    verdict = judge_file(lambda: path.open("rb"), key, path.stat().st_size, contract, config.split.model_dump())
    verdict.file = str(path)
    return verdict


def table(verdict: Verdict) -> str:
    """Return a verdict for people."""
    name = plain(verdict.file)
    if verdict.outcome == IGNORED:
        return f"\n{name}\n  ignored: {verdict.reason}"
    lines = [f"\n{name}"]
    if verdict.outcome == REFUSED:
        lines += [f"  refused: {plain(verdict.reason, 2000)}", f"  what to do: {plain(verdict.remedy, 2000)}"]
    counts = {"rows": verdict.rows, "accepted": verdict.accepted, "repeated": verdict.duplicate}
    counts["quarantined"] = verdict.quarantined
    lines.append(f"  {verdict.outcome}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
    lines += [f"  {count:>9,}  {plain(reason)}" for reason, count in verdict.reasons.most_common()]
    if verdict.remark:
        lines.append(f"  remark: {verdict.remark}")
    if verdict.first:
        lines.append("  the first rejected lines:")
        lines.append(f"  {'line':>9}  {'column':<20} {'value':<24} reason")
        for bad in verdict.first:
            column, value = plain(bad["column"] or "-", 20), plain("-" if bad["value"] is None else bad["value"], 24)
            lines.append(f"  {bad['line']:>9,}  {column:<20} {value:<24} {plain(bad['reason'])}")
    if verdict.columns and verdict.outcome == MERGED:
        places = ", ".join(f"{name} = {plain(place, 40)}" for name, place in verdict.columns.items() if name != place)
        lines.append(f"  columns: {places or 'by the names of the contract'}")
    return "\n".join(lines)


def _folder(model: str) -> Path:
    return Path(model) if "/" in model else MODELS / model


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(found for found in path.rglob("*") if found.is_file())
    elif path.is_file():
        yield path
    else:
        raise FileNotFoundError(f"{path} is no file and no folder")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(until_nobody_reads(main))
