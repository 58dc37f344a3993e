"""The formats in which jobs get the rows of a data set, as ``training.format`` of a model names them.

Parquet is the data set itself, its columns go by name. For CSV the merge writes the rows once more: the target first, then the other
columns in contract order without those that ``ignore`` names.
"""

from __future__ import annotations

from typing import Final

PARQUET: Final = "parquet"
CSV_WITH_HEADER: Final = "csv"
CSV_WITHOUT_HEADER: Final = "csv_without_header"
CONTENT_TYPES: Final = {
    PARQUET: "application/x-parquet",
    CSV_WITH_HEADER: "text/csv",
    CSV_WITHOUT_HEADER: "text/csv",
}
"""What a training job is told of its channels."""
