"""The source line of an error: the caret stands under the column, and the line harms no terminal."""

from pathlib import Path

import pytest

from ngpu.settings import SettingsError, loads
from ngpu.settings.report import SHOWN_PROBLEMS, Problem, dotted
from ngpu.settings.source import SHOWN_WIDTH, Place, Source


def under_the_caret(text: str, place: Place) -> str:
    """What a terminal shows above the caret, where every character but CJK takes one cell."""
    line, caret = Source("f", text, {}).excerpt(place)
    cells = "".join(char * 2 if 0x2E80 < ord(char) < 0xF000 else "" if char == "\u0301" else char for char in line)
    assert caret.strip() == "^"
    return cells[len(caret) - 1]


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("key: X", 6),
        ("X", 1),
        ("\tkey:\t X", 8),
        ("键: X", 4),
        ("'键键': {é: X}", 11),
        ("e\u0301: X", 5),
        ("a" * 300 + "X" + "b" * 300, 301),
        ("a" * 300 + "X", 301),
        ("X" + "a" * 300, 1),
        ("键" * 300 + "X" + "键" * 300, 301),
        ("\u202e\u200b\x07X", 4),
        ("a" * 3_000_000 + "X" + "b" * 1_000_000, 3_000_001),
    ],
)
def test_the_caret_stands_under_the_column(line: str, column: int) -> None:
    text = f"first\n{line}\nlast"
    assert under_the_caret(text, Place(2, column)) == "X"
    shown, _ = Source("f", text, {}).excerpt(Place(2, column))
    assert len(shown) <= SHOWN_WIDTH + 6


def test_a_place_after_the_end_is_shown_at_the_end() -> None:
    assert Source("f", "ab").excerpt(Place(1, 3)) == ("    ab", "      ^")
    assert Source("f", "ab\n").excerpt(Place(2, 1)) == ("    ", "    ^")
    assert Source("f", "ab").excerpt(Place(9, 9)) == ("    ", "    ^")


def test_nothing_of_the_file_moves_the_cursor_or_breaks_a_line() -> None:
    """Neither the source line nor keys that are repeated in messages, nor the file's name."""
    text = '"a\\n\\e[2Jb\\u202e": 1\nlimits: {"x\\r\\ny": 1}\nlisten: ["tcp\\e]0;:80"]\ngates: {"\\x07": 5}\n'
    with pytest.raises(SettingsError) as caught:
        loads(text, "na\x1bme\n", Path("/"))
    report = str(caught.value)
    assert not set(report) & set("\x07\x1b\r\u202e")
    assert all(line.startswith(("    ", "na\ufffdme\ufffd:")) for line in report.split("\n"))


def test_long_texts_are_shortened_in_messages() -> None:
    with pytest.raises(SettingsError) as caught:
        loads(f"? {'k' * 100_000}\n: 1\ntimezone: {'z' * 100_000}\nlisten: {'l' * 100_000}", "f", Path("/"))
    assert all(len(line) < 500 for line in str(caught.value).splitlines())


def test_a_report_is_cut_but_its_problems_are_not() -> None:
    with pytest.raises(SettingsError) as caught:
        loads("nodes: [" + "1," * 5000 + "]", "f", Path("/"))
    report = str(caught.value).splitlines()
    assert len(caught.value.problems) == 5000
    assert len(report) == 3 * SHOWN_PROBLEMS + 1
    assert report[-1] == f"f: and {5000 - SHOWN_PROBLEMS} more"


def test_paths_are_written_like_this() -> None:
    assert dotted(("workspaces", 0, "ports", 8080)) == "workspaces[0].ports.8080"
    assert dotted(("gates", "a b", "options", "x", 1)) == "gates.'a b'.options.x[1]"


def test_the_nearest_name_is_suggested_else_all_of_them() -> None:
    names = ("retry", "queue")
    assert (
        Problem(Place(1, 2), ("retri",), "no", "retri", names).head("f") == "f:1:2: retri: no (did you mean 'retry'?)"
    )
    assert Problem(None, (), "no", "xyz", names).head("f") == "f: no; known here: retry, queue"
    assert Problem(None, (), "no", "RETRY", names).head("f") == "f: no (did you mean 'retry'?)"
    assert Problem(None, (), "no", "x" * 1000, [str(number) for number in range(50)]).head("f") == "f: no"


def test_a_later_stage_can_place_its_errors() -> None:
    """A plugin's ConfigError becomes a problem at the option, or at what would hold it."""
    text = 'gates:\n  ainn:\n    checker: opi\n    tickers: [AINN]\n    options: {url: "x"}\n'
    loaded = loads(text, "f", Path("/"))
    found = loaded.located(("gates", "ainn", "options", "url"), "is no URL")
    assert (
        str(found) == 'f:5:20: gates.ainn.options.url: is no URL\n        options: {url: "x"}\n                       ^'
    )
    missing = loaded.located(("gates", "ainn", "options", "token", 5), "is missing")
    assert str(missing).startswith("f:5:14: gates.ainn.options.token[5]: is missing\n")
    assert str(loaded.located((), "is wrong")).startswith("f:1:1: is wrong\n")
    assert str(loaded.located(("apps", "x"), "is wrong")).startswith("f:1:1: apps.x: is wrong\n")
    assert found.path == ("gates", "ainn", "options", "url")
