"""Every place where the library shows people what came from outside: no escape sequence, no line of its own, no flood."""

from retraining.command import dataset
from retraining.jobs.log_tail import failure_text
from retraining.settings.access import AwsAccess
from retraining.telling.report import POLICY

HOSTILE = "\x1b[2J\x1b[31mACCOUNT LOCKED\r visit \u202eelpmaxe\x9b" + "x" * 20_000


class Failed:
    """A job whose log and reason are hostile."""

    def title(self, handle):
        return "training job t"

    def log_tail(self, access, handle):
        return [HOSTILE] * 15

    def console_url(self, region, handle):
        return "https://console.example/"


def harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.replace("\t", " ").split("\n"))


def test_a_failure_quotes_reason_and_log_as_plain_text():
    text = failure_text(Failed(), AwsAccess(region="us-east-1"), {}, "Failed", HOSTILE)
    assert harmless(text)
    assert len(text) < 12_000
    assert text.count("ACCOUNT LOCKED") == 16


def test_the_command_line_prints_names_of_files_as_plain_text(monkeypatch, capsys):
    def broken(*_):
        raise LookupError(HOSTILE)

    monkeypatch.setattr(dataset, "reach_platform", broken)
    assert dataset.main(["versions", "abalone"]) == 1
    dataset._print(HOSTILE)
    written = capsys.readouterr()
    assert harmless(written.err) and harmless(written.out)
    assert "ACCOUNT LOCKED" in written.err and "ACCOUNT LOCKED" in written.out


def test_the_report_loads_and_runs_nothing():
    assert "default-src 'none'" in POLICY and "script-src" not in POLICY
