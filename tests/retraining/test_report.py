"""The report: complete, safe, small, the same for the same input."""

import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_functions.analyze_results import handler
from retraining.judging.gate import decide
from retraining.settings.gate_policy import GatePolicy
from retraining.telling.explaining.plots import dependence_plot
from retraining.telling.gate_table import number
from retraining.telling.report import render
from retraining.telling.report_plots import difference_plot, ticks
from retraining.telling.report_rows import SAMPLE_ROWS, summarise_rows

HEADER = "row,truth,challenger,champion,group\n"
VOID = {"meta", "br", "circle", "path", "rect"}


class Outline(HTMLParser):
    """Checks that elements close in order; keeps texts and tag names."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + "\n"


def rows_of(count: int, champion: bool = True) -> list[str]:
    groups = "MFI"
    lines = [HEADER]
    for index in range(count):
        truth = 4 + index * 7 % 15
        second = f"{truth + 1.5}" if champion else ""
        lines.append(f"{index + 1},{truth}.0,{truth + 0.5 * (-1) ** index},{second},{groups[index % 3]}\n")
    return lines


POLICY = GatePolicy(guards={"rmse": 2.6, "bias": 0.5}, worst_group={"rmse": 3.5}, min_test_rows=100)


def facts(policy=POLICY, looks=2, **changes):
    challenger = {"rmse": 0.5, "mae": 0.5, "r2": 0.9, "bias": 0.0, "loss": 0.25}
    champion = {"rmse": 1.5, "mae": 1.5, "r2": 0.8, "bias": 1.5, "loss": 2.25}
    analysis = {
        "task": "regression",
        "n": 300,
        "challenger": challenger,
        "champion": champion,
        "paired": {"n": 300, "files": 4, "weight": 210.0, "difference": -2.0, "standard_error": 2.0},
        "groups": {name: {"n": 100, "challenger": challenger, "champion": champion} for name in "MFI"},
        "curves": None,
    }
    decision = decide(analysis, policy, looks=looks).as_dict()
    return {
        "summary": {
            "model": "abalone",
            "run_key": "v2-abc",
            "dataset_version": 2,
            "decision": "approved",
            "metric": "rmse",
            "rows_new": 915,
            "rows_accepted": 891,
            "rows_by_split": {"train": 3200, "validation": 624, "test": 161},
        },
        "analysis": analysis,
        "decision": {**decision, "reason": "The challenger is better."},
        "rows": summarise_rows(rows_of(300)),
        "merge": {
            "rows_accepted": 891,
            "rows_duplicate": 4,
            "rows_quarantined": 20,
            "rows_by_split": {"train": 730, "validation": 134, "test": 27},
            "reasons": {"height: not above 0": 2, "rings: missing": 18},
            "files": [
                {
                    "key": "abalone/new/b.csv",
                    "rows": 915,
                    "accepted": 891,
                    "duplicate": 4,
                    "quarantined": 20,
                    "outcome": "merged",
                    "reason": None,
                    "remedy": None,
                },
                {
                    "key": "abalone/new/a.csv",
                    "rows": 0,
                    "accepted": 0,
                    "duplicate": 0,
                    "quarantined": 0,
                    "outcome": "refused",
                    "reason": "no header",
                    "remedy": "Write one.",
                },
            ],
        },
        "lineage": [("Training job", "abalone-train-1", "https://console.example/job"), ("Code", "c0de", None)],
        "target": "rings",
        "group": "sex",
        "created_at": "2026-05-04T03:02:01+00:00",
        **changes,
    }


def test_refused_files_come_first_and_the_crawl_is_a_note():
    summary = facts()["summary"] | {
        "refused": ["abalone/new/a.csv: no header. Write one."],
        "files_refused": 12,
        "crawl": {"notes": ["a.csv: no column rings"]},
    }
    text = Outline(render(**facts(summary=summary))).text
    order = [text.index(words) for words in ("12 refused files", "RMSE of the challenger", "a.csv: no column rings")]
    assert order == sorted(order)
    assert text.index("refused: no header") < text.index("b.csv")
    failed = Outline(render(**facts(summary=summary | {"crawl": {"warning": "it was away"}}))).text
    assert "the crawl failed: it was away" in failed


def test_the_page_says_all_that_is_asked_of_it():
    page = render(**facts())
    text = Outline(page).text
    for words in (
        "approved",
        "The challenger is better.",
        "Champion against challenger",
        "Predicted against true",
        "RMSE by sex",
        "5.3 to 1",
        "300 rows of 4 arrivals, weighed by age (half after 60 days), together worth 210 new ones",
        "2 runs have judged a model on just these rows",
        "What data was added",
        "Lineage",
        "height: not above 0",
        "refused: no header Write one.",
        "b.csv",
        "abalone-train-1",
        "Rows that cost the challenger most",
    ):
        assert words in text, words
    assert '<a href="https://console.example/job">' in page


def test_the_page_needs_nothing_from_elsewhere():
    page = render(**facts(lineage=[]))
    outline = Outline(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(outline.tags)
    assert not re.search(r"https?://|url\(|@import|\son\w+=", page)
    assert "prefers-color-scheme:dark" in page


def test_a_first_model_is_reported_without_champion():
    document = facts()
    groups = {name: {**found, "champion": None} for name, found in document["analysis"]["groups"].items()}
    document["analysis"] |= {"champion": None, "paired": None, "groups": groups}
    document["decision"] = decide(document["analysis"], POLICY).as_dict()
    text = Outline(render(**{**document, "rows": summarise_rows(rows_of(300, champion=False))})).text
    assert "There is no champion to compare with" in text
    assert "no champion yet" in text


def test_a_run_without_a_merge_and_without_rows_is_reported():
    text = Outline(render(**facts(merge=None, rows=summarise_rows([HEADER])))).text
    assert "Nothing was merged; the dataset version has 3,200 train, 624 validation, 161 test rows." in text
    assert "There are no rows to show." in text


@pytest.mark.parametrize(("passed", "words"), [(0.2, "✓ passed"), (0.7, "✕ failed")])
def test_each_guard_is_shown_with_its_verdict(passed, words):
    document = facts()
    document["analysis"]["challenger"] = {**document["analysis"]["challenger"], "bias": passed}
    document["decision"] = decide(document["analysis"], POLICY).as_dict()
    row = re.search(r"<tr><td>Bias</td>[^r]*?± 0.5.*?</tr>", render(**document)).group()
    assert words in row


NASTY = "<script>alert('x')</script>\"&"


def test_everything_from_outside_is_escaped():
    document = facts(target=NASTY, group=NASTY, created_at=NASTY)
    document["summary"] |= {"model": NASTY, "run_key": NASTY, "decision": NASTY, "dataset_version": NASTY}
    document["decision"]["reason"] = NASTY
    document["merge"]["reasons"] = {NASTY: 1}
    document["merge"]["files"][0] |= {"key": NASTY, "outcome": "refused", "reason": NASTY}
    document["merge"]["rows_by_split"] = {NASTY: 1}
    document["summary"]["rows_by_split"] = {NASTY: 1}
    document["lineage"] = [(NASTY, NASTY, "javascript:alert(1)"), ("a", "b", 'https://x"onclick="y')]
    quoted = '"' + NASTY.replace('"', '""') + '"'
    document["rows"] = summarise_rows([HEADER, f"{quoted},5,6,7,{quoted}\n"])
    for merge in (document["merge"], None):
        page = render(**{**document, "merge": merge})
        assert "script" not in Outline(page).tags
        assert "javascript:" not in page
        assert 'https://x"' not in page


def test_a_million_rows_make_a_small_page_and_the_same_page_again():
    lines = rows_of(50_000)
    body = lines[1:]
    many = [HEADER, *body * 20]
    rows = summarise_rows(many)
    assert rows["n"] == 1_000_000
    assert len(rows["points"]) == SAMPLE_ROWS
    page = render(**facts(rows=rows))
    assert len(page.encode()) < 200_000
    assert page == render(**facts(rows=summarise_rows(many)))


def test_many_files_reasons_and_groups_are_cut_and_counted():
    document = facts()
    file = document["merge"]["files"][0]
    document["merge"]["files"] = [{**file, "key": f"abalone/new/{n:04}.csv", "rows": n} for n in range(1000)]
    document["merge"]["reasons"] = {f"reason {n}" + "x" * 1000: n for n in range(1000)}
    document["analysis"]["groups"] = {f"group {n}": document["analysis"]["groups"]["M"] for n in range(1000)}
    page = render(**document)
    assert len(page.encode()) < 200_000
    assert "0999.csv" in page
    assert "and 975 more" in page
    assert "and 960 smaller groups" in page


def test_the_sample_is_spread_over_the_file():
    lines = rows_of(10_000)
    rows = summarise_rows(lines, sample=100)
    assert rows == summarise_rows(lines, sample=100)
    assert len(rows["points"]) == 100
    numbered = summarise_rows([HEADER, *(f"{n},{n},{n},,M\n" for n in range(10_000))], sample=100)
    per_tenth = [sum(1 for point in numbered["points"] if point[0] // 1000 == tenth) for tenth in range(10)]
    assert min(per_tenth) >= 9


def test_the_rows_that_cost_most_are_found():
    np = pytest.importorskip("numpy")
    noise = np.random.default_rng(7).normal(0, 2, 5000)
    rows = summarise_rows([HEADER, *(f"{n},10,{float(10 + noise[n])!r},9,M\n" for n in range(5000))])
    worst = [int(item["row"]) for item in rows["worst"]]
    assert worst == list(np.argsort(-np.abs(noise))[: len(worst)])


def test_rows_that_are_no_numbers_are_an_error_and_infinite_ones_are_left_out():
    with pytest.raises(ValueError, match="it lacks row, truth, challenger, champion"):
        summarise_rows(["a,b\n", "1,2\n"])
    with pytest.raises(ValueError, match="could not convert"):
        summarise_rows([HEADER, "1,x,2,,M\n"])
    assert summarise_rows([HEADER, "1,nan,2,,M\n", "2,1,inf,,M\n", "3,1,2,,M\n"])["n"] == 1


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e6), st.floats(0, 1000))
def test_every_difference_can_be_drawn(difference, error, odds):
    plot = difference_plot(difference, error, odds)
    assert "nan" not in plot
    assert "inf" not in plot


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e9))
def test_ticks_are_few_and_inside(low, span):
    found = ticks(low, low + span)
    assert len(found) <= 14
    assert all(low - span * 0.01 <= tick <= low + span * 1.01 for tick in found if low + span > low)


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [
        (2.19760, False, "2.198"),
        (-0.08046, True, "-0.0805"),
        (0.0, True, "+0.000"),
        (12345.678, False, "12,346"),
        (3094, False, "3,094"),
        (7, True, "+7"),
        (None, False, "\u2013"),
        (float("nan"), False, "nan"),
    ],
)
def test_numbers_are_written_for_people(value, sign, text):
    assert number(value, sign=sign) == text


def test_the_libraries_of_the_report_are_the_standard_ones():
    folder = Path(__file__).resolve().parents[2] / "plugins" / "retraining" / "telling"
    imports = re.findall(
        r"^(?:from|import) (\S+)",
        "".join((folder / name).read_text() for name in ("report.py", "report_plots.py")),
        re.M,
    )
    assert {name.split(".")[0] for name in imports} <= {
        "__future__",
        "collections",
        "csv",
        "heapq",
        "html",
        "math",
        "retraining",
        "statistics",
        "typing",
    }


def classifier(classes: list[str], champion: bool = True) -> dict:
    """Return what a report of a classifier is made of; its analysis is that of the function itself."""
    import random

    chance = random.Random(5)
    head = "row,truth,challenger,champion,group,loss_challenger,loss_champion,file,probability_challenger,probability_champion\n"
    lines = [head]
    for number_of in range(400):
        truth = chance.randrange(len(classes))
        answers = []
        for skill in (2.0, 1.0):
            scores = [chance.gauss(skill if at == truth else 0.0, 1.0) for at in range(len(classes))]
            odds = [math.exp(score) for score in scores]
            answers.append([part / sum(odds) for part in odds])
        labels = [classes[max(range(len(classes)), key=share.__getitem__)] for share in answers]
        losses = [repr(-math.log(share[truth])) for share in answers]
        shares = [repr(share[1]) if len(classes) == 2 else " ".join(map(repr, share)) for share in answers]
        second = (labels[1], losses[1], shares[1]) if champion else ("", "", "")
        sex = "MF"[number_of % 2]
        row = [number_of, classes[truth], labels[0], second[0], sex, losses[0], second[1], 0, shares[0], second[2]]
        lines.append(",".join(map(str, row)) + "\n")
    body = io.BytesIO("".join(lines).encode())
    analysis = handler.analyze_csv(body, task="binary" if len(classes) == 2 else "multiclass", classes=classes)
    policy = GatePolicy(guards={"log_loss": 2.0, "accuracy": 0.5}, worst_group={"accuracy": 0.4})
    document = facts()
    document["summary"]["metric"] = "log_loss"
    return {
        **document,
        "analysis": analysis,
        "decision": decide(analysis, policy).as_dict(),
        "rows": summarise_rows(lines),
        "target": "income",
    }


@pytest.mark.parametrize("classes", [["no", "yes"], ["a", "b", "c"]])
@pytest.mark.parametrize("champion", [True, False])
def test_a_classifier_is_reported_without_a_word_of_rmse(classes, champion):
    page = render(**classifier(classes, champion))
    text = Outline(page).text
    for words in (
        "Log loss of the challenger",
        "Log loss by sex",
        "Calibration",
        "Confusion",
        "Accuracy",
        "true income",
    ):
        assert words in text, words
    assert ("How well yes is told from no" in text) == (len(classes) == 2)
    assert "RMSE" not in page and "R²" not in page
    assert "nan" not in page.lower().replace("nanum", "")


def test_class_names_are_escaped():
    document = classifier(["no", "yes"])
    document["analysis"]["classes"] = ["no", NASTY]
    assert "script" not in Outline(render(**document)).tags


def test_candidates_are_compared_and_one_that_was_left_out_says_why():
    assert "Candidates" not in Outline(render(**facts())).text
    candidates = [
        {"name": "small", "value": 2.1534, "chosen": True},
        {"name": "large", "value": 2.2, "chosen": False},
        {"name": "deep", "chosen": False, "left_out": "its training job failed"},
    ]
    summary = facts()["summary"] | {"selection_metric": "validation:rmse", "candidates": candidates}
    text = Outline(render(**facts(summary=summary))).text
    assert "Candidates" in text and "validation:rmse" in text
    assert "2.153 ✓ goes on to the test rows" in " ".join(text.split())
    assert "its training job failed" in text


def search(**changes):
    trials = [
        {"name": "s-002-ab", "value": 2.0312, "hyperparameters": {"learning_rate": "0.071", "kind": '"a"'}},
        {"name": "s-001-cd", "value": 2.2, "hyperparameters": {"learning_rate": "0.5", "kind": NASTY}},
    ]
    found = {"job": "s", "best": "s-002-ab", "trials": trials, "counts": {"completed": 5, "failed": 1, "stopped": 0}}
    found |= {"against": "hgb", "difference": -0.2, "standard_error": 0.05, "rows": 300}
    return found | {"chosen": True, "why": "it loses less than hgb"} | changes


def test_a_search_shows_its_trials_the_best_first_and_why_it_goes_on():
    assert "Search" not in Outline(render(**facts())).text

    def page(**changes):
        summary = facts()["summary"] | {"selection_metric": "validation:rmse", "search": search(**changes)}
        outline = Outline(render(**facts(summary=summary)))
        assert "script" not in outline.tags
        return " ".join(outline.text.split())

    text = page()
    assert "The best of 6 trials (5 completed, 1 failed): it loses less than hgb." in text
    assert "Mean loss of the best trial minus that of hgb: -0.2000, standard error 0.0500." in text
    assert "Trial kind learning_rate validation:rmse s-002-ab" in text
    assert "0.0710 2.031 s-001-cd" in text
    assert "3 more trials completed with less good values" in text
    alone = page(difference=None, standard_error=None, against=None, why="no declared candidate trained")
    assert "Mean loss of the best trial" not in alone and "no declared candidate trained" in alone


EXPLANATION = {
    "of": "rings",
    "outputs": ["rings"],
    "base": 9.87,
    "rows": 40,
    "background": 20,
    "exact": True,
    "columns": [
        {"name": "shell_weight", "mean": 1.41, "low": 1.2, "high": 1.6},
        {"name": "sex", "mean": 0.2, "low": 0.1, "high": 0.3},
        {"name": "same", "mean": 0.0, "low": 0.0, "high": 0.0},
    ],
    "dependence": [
        {"name": "shell_weight", "points": [[0.1, -2.0], [0.4, 1.5]]},
        {"name": "sex", "points": [["M", 0.1], ["I", -0.3], ["M", 0.2]]},
        {"name": "same", "points": [[1.0, 0.0], [1.0, 0.0]]},
        {"name": "gone", "points": []},
    ],
}


def test_a_report_says_what_the_model_goes_by():
    page = render(**facts(explanation=EXPLANATION))
    outline = Outline(page)
    assert "What the model goes by" in outline.text
    assert "The mean answer is 9.870 rings; each column moves" in outline.text
    assert "on 40 test rows" in outline.text
    assert "against 20 training rows" in outline.text
    assert "sampling" not in outline.text
    assert page.count("moves of ") == 3, "a column without a point is not drawn"
    assert re.search(r"shell_weight</td><td class=n>1\.410</td><td class=n>1\.200</td><td class=n>1\.600</td>", page)
    assert "What the model goes by" not in render(**facts())


def test_of_classes_the_report_says_whose_probability_moves():
    binary = {**EXPLANATION, "of": "yes", "outputs": ["no", "yes"], "base": 0.25, "exact": False}
    text = Outline(render(**facts(explanation=binary))).text
    assert "The mean probability of yes is 0.2500" in text
    assert "estimated by sampling" in text
    many = {**binary, "of": None, "outputs": ["a", "b", "c"], "base": None, "dependence": []}
    assert "moves probability from some classes to others" in Outline(render(**facts(explanation=many))).text


@given(
    st.lists(st.tuples(st.one_of(st.floats(-1e9, 1e9), st.just(3.0)), st.floats(-1e6, 1e6)), min_size=1, max_size=20),
    st.text(max_size=40),
)
def test_every_dependence_can_be_drawn(points, name):
    for values in (points, [(f"{name}{value:g}", move) for value, move in points]):
        plot = dependence_plot(name, values, "rings & more")
        Outline(plot)
        assert "nan" not in plot.replace(name, "").lower() or "nan" in name.lower()
