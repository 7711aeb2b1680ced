"""What engines, workers and customers say is shown, and neither obeyed by terminals nor taken for markup."""

from __future__ import annotations

import pytest

from ngpu.cli.deploying import _Bars
from ngpu.cli.exits import Failed, Refused
from ngpu.cli.table import plain, table

HOSTILE = "\x1b]0;title\x07 \x9b31m \u202egnp \r\x7f"


def test_what_a_terminal_would_obey_is_spelt_out() -> None:
    assert plain(HOSTILE) == r"\x1b]0;title\x07 \x9b31m \u202egnp \r\x7f"
    assert (
        plain("\u5b89\u5168, caf\u00e9, \U0001f469\u200d\U0001f52c\nand")
        == "\u5b89\u5168, caf\u00e9, \U0001f469\u200d\U0001f52c\nand"
    )
    assert Failed(f"no: {HOSTILE}").message == Refused(f"no: {HOSTILE}").message == f"no: {plain(HOSTILE)}"


def test_each_row_of_a_table_is_one_line() -> None:
    assert table(("A", "B"), [("a\nb", HOSTILE)]).splitlines() == ["A    B", f"a b  {plain(HOSTILE)}"]


def test_brackets_in_the_words_of_an_engine_end_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    node = {"address": "0x[/1]", "progress": 40, "status": False, "reason": 'exec: "[/bin/sh -c x]" [red]: \x1b[2J'}
    bars = _Bars()
    with bars:
        bars.update({"nodes": [node]})
    shown = capsys.readouterr().out
    assert "[/bin/sh" in shown and "0x[/1]" in shown and "\x1b[2J" not in shown
