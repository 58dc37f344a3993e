"""Command line of the job: ``python -m generator --request FILE --train DIR --output DIR ...``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from retraining.contract.rules import Contract

from .generate import Request, make, not_yet_known, sampler, write
from .tables import read_training_rows


def main(arguments: list[str] | None = None) -> int:
    """Make the survey that the request describes; 2 when the request or the data cannot be used."""
    parser = argparse.ArgumentParser(prog="generator", description="Make one survey file and its quality report.")
    parser.add_argument(
        "--request", type=Path, required=True, help="JSON file, see generate.Request; or a folder with request.json"
    )
    parser.add_argument(
        "--train", type=Path, required=True, help="folder with the training CSV objects of the train split"
    )
    parser.add_argument("--known", type=Path, help="replay: folder with the training CSV objects of all splits")
    parser.add_argument("--held-back", type=Path, help="replay: folder with CSV files (header) of real rows")
    parser.add_argument("--model", type=Path, help="ctgan: folder that keeps the fitted model")
    parser.add_argument("--output", type=Path, required=True, help="folder for survey.csv, report.json and report.html")
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    limits = threadpool_limits(1)  # small arrays: on a busy machine threads wait for each other longest
    try:
        path = chosen.request / "request.json" if chosen.request.is_dir() else chosen.request
        request = Request.of(json.loads(path.read_text(encoding="utf-8")))
        contract = Contract.of(request.contract)
        train = read_training_rows(chosen.train, contract)
        held_back = None
        if request.method == "replay":
            files = sorted(chosen.held_back.rglob("*.csv")) if chosen.held_back else []
            held_back = not_yet_known(files, chosen.known, contract)
        draw, available = sampler(request, train, chosen.model, held_back, _say)
        survey = make(request, train, draw, available, _say)
    except (OSError, ValueError, LookupError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        limits.restore_original_limits()
    write(survey, chosen.output, contract)
    _say(f"{len(survey.lines):,} rows in {time.monotonic() - started:.1f} s")
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
