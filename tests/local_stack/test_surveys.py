import csv
import io

from local_stack import layout
from local_stack.surveys import LENGTH_LIMIT, split_surveys


def test_every_row_is_in_exactly_one_part_and_only_the_original_has_a_header():
    source = layout.ROOT / "data" / "abalone.csv"
    original, surveys = split_surveys(source)
    parts = [list(csv.reader(io.StringIO(text))) for text in (original, *surveys)]
    header, *all_rows = list(csv.reader(io.StringIO(source.read_text())))
    assert parts[0].pop(0) == header
    assert sorted(row for part in parts for row in part) == sorted(all_rows)
    assert all(float(row[1]) > LENGTH_LIMIT for row in parts[0])
    assert all(float(row[1]) <= LENGTH_LIMIT for part in parts[1:] for row in part)
    assert [len(part) > 100 for part in parts] == [True] * 4


def test_the_parts_have_different_sizes_so_that_the_demo_knows_which_has_arrived():
    _, surveys = split_surveys(layout.ROOT / "data" / "abalone.csv")
    assert len({len(survey.encode()) for survey in surveys}) == len(surveys)
