"""A change is written into the file as one value or one key; every other line stays as it is."""

import difflib
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from experiment.overrides import Override, apply, find
from experiment.proposal import ProposalError, diff, propose

TEXT = (Path(__file__).resolve().parents[2] / "dags" / "models" / "abalone" / "model.yaml").read_text()


def proposed(*changes, text=TEXT):
    return propose(text, find(yaml.safe_load(text), changes))


def at(location, value):
    return Override(tuple(location), ".".join(map(str, location)), None, value)


def lines_that_differ(before, after):
    changes = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[:2] in ("- ", "+ ")]
    return [line for line in changes if line[0] == "-"], [line for line in changes if line[0] == "+"]


def test_a_new_hyperparameter_is_added_where_the_candidate_is():
    removed, added = lines_that_differ(TEXT, proposed("algorithm.svr.C=3"))
    assert removed == ["-     - {name: svr-hgb, hyperparameters: {algorithm: svr_hgb, seed: 0}}"]
    assert added == ["+     - {name: svr-hgb, hyperparameters: {algorithm: svr_hgb, seed: 0, params: {svr_C: 3}}}"]


def test_a_value_is_replaced_and_its_comment_stays_in_its_column():
    removed, added = lines_that_differ(TEXT, proposed("gate.required_odds=4"))
    assert removed == [
        "-   required_odds: 0.5           # 2 to 1 against the challenger keep it out; 19 asks for proof at 95 %"
    ]
    assert added == [
        "+   required_odds: 4             # 2 to 1 against the challenger keep it out; 19 asks for proof at 95 %"
    ]


def test_a_new_key_of_a_section_comes_after_its_last_one():
    text = proposed("gate.min_growth=0.05")
    assert lines_that_differ(TEXT, text) == ([], ["+   min_growth: 0.05"])
    assert "comparison\n  min_growth: 0.05\n\npresent:" in text


def test_several_changes_are_all_there():
    text = proposed("algorithm.svr.C=3", "algorithm.hgb.max_iter=99", "seed=5", "gate.guards.rmse=2.5")
    values = yaml.safe_load(text)
    assert values["training"]["candidates"][0]["hyperparameters"] == {
        "algorithm": "svr_hgb",
        "seed": 5,
        "params": {"svr_C": 3, "hgb_max_iter": 99},
    }
    assert values["gate"]["guards"]["rmse"] == 2.5
    assert [len(lines) for lines in lines_that_differ(TEXT, text)] == [2, 2]


def test_what_the_file_says_already_is_no_change():
    assert proposed("seed=0") == TEXT
    assert diff(TEXT, TEXT, "model.yaml") == ""


def test_a_block_gives_way_to_one_line_below_its_comment():
    text = "a: 1\nlist:   # why\n  # first\n  - x: 1\n    y: 2\n\nb: 2  # end\n"
    assert propose(text, [at(["list"], [3])]) == "a: 1\nlist: [3]   # why\n\nb: 2  # end\n"


@pytest.mark.parametrize(
    ("text", "location", "value", "wanted"),
    [
        ("a:\n", ["a"], 1, "a: 1\n"),
        ("a:", ["a"], 1, "a: 1"),
        ("a: 1", ["b"], 2, "a: 1\nb: 2"),
        ("a: {}\n", ["a", "b", "c"], 2, "a: {b: {c: 2}}\n"),
        ("a: {b: 1,}\n", ["a", "c"], 2, "a: {b: 1, c: 2,}\n"),
        (
            "a:\n  b: |\n    text\n    more\n# c\nd: 1\n",
            ["a", "e"],
            2,
            "a:\n  b: |\n    text\n    more\n  e: 2\n# c\nd: 1\n",
        ),
        ("a: # why\n  b: 1\n", ["a", "b"], "x: #", "a: # why\n  b: 'x: #'\n"),
        ("a: 1\r\nb: 2 # c\r\n", ["b"], 33, "a: 1\r\nb: 33 # c\r\n"),
        ("a:\r\n  b: 2 # c\r\n", ["a", "d"], 3, "a:\r\n  b: 2 # c\r\n  d: 3\r\n"),
        ("a: 'long\n  text'\nb: 1\n", ["a"], 1, "a: 1\nb: 1\n"),
        ("r:\n- a: 1\n  b: 2\n- 3\n", ["r", 0, "b"], None, "r:\n- a: 1\n  b: null\n- 3\n"),
        ("a: [x, y]  # c\n", ["a", 1], "p, q", "a: [x, 'p, q']  # c\n"),
        ("é: 'ü'\nx: 'ß' # ö\n", ["x"], "naïve", "é: 'ü'\nx: naïve # ö\n"),
    ],
)
def test_layouts(text, location, value, wanted):
    assert propose(text, [at(location, value)]) == wanted


@pytest.mark.parametrize("text", ["a: &x {b: 1}\nc: *x\n", "c: &x\n  b: 1\na: *x\n"], ids=["anchor", "alias"])
def test_a_change_that_would_change_something_else_is_refused(text):
    with pytest.raises(ProposalError, match=r"a\.b cannot be written into this model\.yaml .* b: 2"):
        propose(text, [at(["a", "b"], 2)])


def test_the_diff_can_be_applied_by_git():
    shown = diff("a: 1\nb: 2", "a: 1\nb: 3", "dags/model.yaml")
    assert shown == (
        "--- a/dags/model.yaml\n+++ b/dags/model.yaml\n@@ -1,2 +1,2 @@\n a: 1\n-b: 2\n\\ No newline at end of file\n"
        "+b: 3\n\\ No newline at end of file\n"
    )


# -- made-up files --------------------------------------------------------------------------------------------------------------------

keys = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True).filter(lambda key: yaml.safe_load(key) == key)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1000, 1000),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=12),
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=8,
)
comments = st.sampled_from(["", "  # why", " # a: {b}", "   #"])


@st.composite
def files(draw):
    """A file with blocks, flows, comments and blank lines, and the place of a change in it."""
    values = draw(st.dictionaries(keys, trees, min_size=1, max_size=4))
    lines = _block(draw, values, 0)
    text = "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n", "\n# end\n"]))
    assume(repr(yaml.safe_load(text)) == repr(values))
    location, node = [], values
    while isinstance(node, dict | list) and node and draw(st.integers(0, 3)):
        part = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        location.append(part)
        node = node[part]
    if isinstance(node, dict) and draw(st.booleans()):
        location += [draw(keys.filter(lambda key: key not in node)), *draw(st.lists(keys, max_size=1))]
    return text, values, location or [draw(keys.filter(lambda key: key not in values))]


def _block(draw, value, indent):
    pad = " " * indent
    if isinstance(value, dict) and value:
        entries = [(f"{key}:", item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        entries = [("-", item) for item in value]
    else:
        return [pad + _flow(value)]
    lines = []
    for head, item in entries:
        if draw(st.booleans()):
            lines.append(draw(st.sampled_from(["", f"{pad}# note", "# x: y"])))
        if isinstance(item, dict | list) and item and draw(st.booleans()):
            lines.append(f"{pad}{head}{draw(comments)}")
            lines += _block(draw, item, indent + draw(st.sampled_from([1, 2, 4])))
        else:
            lines.append(f"{pad}{head} {_flow(item)}{draw(comments)}")
    return lines


def _flow(value):
    return yaml.safe_dump([value], default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False).strip()[
        1:-1
    ]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files(), trees)
def test_a_proposal_says_exactly_the_change_and_leaves_every_other_line(file, value):
    text, values, location = file
    override = at(location, value)
    wanted = apply(values, [override])
    after = propose(text, [override])
    assert repr(yaml.safe_load(after)) == repr(wanted)
    old, new = text.split("\n"), after.split("\n")
    head = next(
        (n for n, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new))
    )
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    assert len(new) - head - tail <= 1, "a change is written on one line"
    node = values
    for part in location:
        node = node.get(part) if isinstance(node, dict) else node[part] if isinstance(node, list) else None
    if not isinstance(node, dict | list):
        assert len(old) - head - tail <= 1, "only the line of the value is touched"
