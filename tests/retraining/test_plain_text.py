"""What comes from outside reaches people as printable text of a bounded length."""

import random
import unicodedata

from retraining.contract.plain_text import plain, plain_lines, plain_name, plain_names

HOSTILE = (
    "\x1b[2J\x1b[31mACCOUNT LOCKED\x07\r\nforged \u202egnp.exe \u2028\u0085 \x9b \ud800 \U000e0041 \u200b a\u00a0b"
)


def test_escape_sequences_bidi_marks_and_line_ends_are_shown_not_sent() -> None:
    shown = plain(HOSTILE)
    assert shown.isprintable()
    assert shown.startswith(
        "U+001B[2JU+001B[31mACCOUNT LOCKEDU+0007U+000DU+000Aforged U+202Egnp.exe U+2028U+0085 U+009B U+D800"
    )
    shown.encode("utf-8")


def test_what_people_write_stays_as_it_is() -> None:
    for text in ("Größe in mm", "長さ", "a ${env:HOME} $(id) `x` %s {0} {{ x }}", "<b>&amp;</b>", "-5 °C"):
        assert plain(text) == text


def test_every_character_of_unicode_comes_out_printable() -> None:
    for start in range(0, 0x110000, 0x1000):
        text = "".join(map(chr, range(start, start + 0x1000)))
        assert plain(text, 100_000).isprintable()
        assert all(unicodedata.category(c)[0] != "C" or c in "\n\t" for c in plain_lines(text, 100_000))


def test_a_long_text_is_cut_before_it_costs_anything() -> None:
    assert plain("x" * 10**7, 10) == "x" * 9 + "…"
    assert len(plain("\x1b" * 10**6)) == 400
    assert plain("x" * 10, 10) == "x" * 10
    assert len(plain_lines("a\n" * 10**6)) == 4000
    assert len(plain_name("n" * 41)) == 40


def test_a_list_of_names_ends_after_five() -> None:
    assert plain_names(["a", "b\n"]) == "a, bU+000A"
    assert plain_names(map(str, range(7))) == "0, 1, 2, 3, 4 and 2 more"
    assert len(plain_names(["n" * 1000] * 1000)) < 250


def test_lines_of_a_message_stay_lines() -> None:
    assert plain_lines("one\r\ntwo\n\tthree\rfour\x1b") == "one\ntwo\n\tthreeU+000DfourU+001B"


def test_random_text_is_always_short_and_printable() -> None:
    rng = random.Random(1)
    for _ in range(2_000):
        text = "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(60)))
        limit = rng.randrange(1, 80)
        assert len(plain(text, limit)) <= limit and plain(text, limit).isprintable()
        assert len(plain_lines(text, limit)) <= limit
