"""What the library's own model trains on in these tests: the first rows of the abalone data."""

import sys
from pathlib import Path

from local_stack import layout

sys.path.insert(0, str(layout.ROOT / "tests" / "model"))
import abalone_artifacts as abalone

__all__ = ["abalone", "write_channels"]


def write_channels(folder: Path) -> None:
    """Write the channels train and validation, the target first."""
    lines = (layout.ROOT / "data" / "abalone.csv").read_text().splitlines()[1:601]
    for channel, part in (("train", lines[:400]), ("validation", lines[400:])):
        (folder / channel / "batch=a").mkdir(parents=True)
        rows = [",".join((fields := line.split(","))[-1:] + fields[:-1]) for line in part]
        (folder / channel / "batch=a" / "part-0.csv").write_text("\n".join(rows) + "\n")
