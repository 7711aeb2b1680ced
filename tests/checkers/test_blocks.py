"""Checkers' blocks: what `ngpu check` says of wrong ones, and that those of docs/plugins.md can be used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import ROOT
from twisted.internet.task import Clock

from ngpu.errors import ConfigError
from ngpu.interfaces import IInscriptionChecker, PluginContext
from ngpu.settings import SettingsError, loads
from ngpu.tap import check

KEYS = ("unisat", "okx", "okx-secret", "okx-passphrase", "bestinslot", "xverse")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    for name in KEYS:
        (tmp_path / "keys" / name).write_text("a-key\n")
    return tmp_path


def heads(folder: Path, checker: str) -> list[str]:
    """What is wrong with a gate whose checker and options are this, without the lines that show where."""
    file = folder / "f.yaml"
    file.write_text(f"gates: {{g: {{tickers: [AINN], checker: {checker}}}}}\n")
    try:
        check(file, Clock())
    except SettingsError as error:
        return [problem.head("f").split(": ", 1)[1] for problem in error.problems]
    return []


def shown() -> list[str]:
    """The blocks of docs/plugins.md that hold gates."""
    blocks = re.findall(r"^```yaml[^\n]*\n(.*?)^```", (ROOT / "docs/plugins.md").read_text(), re.M | re.S)
    return [block for block in blocks if block.startswith("gates:")]


def test_the_blocks_that_the_page_shows_can_be_used(folder: Path) -> None:
    checkers = set()
    for text in shown():
        file = folder / "ngpu.yaml"
        file.write_text(text)
        check(file, Clock())
        checkers |= {gate["checker"] for gate in yaml.safe_load(text)["gates"].values()}
    assert checkers == {"static", "opi", "ord", "unisat", "okx", "bestinslot", "xverse", "quorum"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("url: 8000", "url: must be a URL"),
        ('url: "ftp://h"', "url: must be a URL"),
        ('url: "http://user:pass@h"', "url: must be a URL"),
        ('url: "http://h/?a=b"', "url: must be a URL"),
        ('url: "http://h/#a"', "url: must be a URL"),
        ("timeout: 3", "timeout: needs a unit"),
        ("timeout: 0s", "timeout: must be more than 0 and at most 10s"),
        ("timeout: 11s", "timeout: must be more than 0 and at most 10s"),
        ("rate: 5", "rate: must be a mapping with per_second and per_day"),
        ("rate: {per_second: 0}", "rate.per_second: must be a number above 0"),
        ("rate: {per_second: fast}", "rate.per_second: must be a number above 0"),
        ("rate: {per_second: .inf}", "rate.per_second: must be a number above 0"),
        ("rate: {per_day: 1.5}", "rate.per_day: must be a whole number"),
        ("rate: {per_hour: 5}", "rate.per_hour: there is no such key; there are per_second, per_day"),
        ("breaker: {failures: 0}", "breaker.failures: must be a whole number from 1 to 1000"),
        ("breaker: {rest: soon}", "breaker.rest: must be a duration"),
        ("key_file: x", "key_file: opi has no such option"),
        ("urll: x", "urll: opi has no such option (did you mean 'url'?)"),
    ],
)
def test_a_wrong_option_is_named_where_it_stands(folder: Path, options: str, said: str) -> None:
    (head,) = heads(folder, f"opi, options: {{{options}}}")
    assert head.startswith(f"gates.g.options.{said}")


@pytest.mark.parametrize(
    "options", ["", "timeout: 500ms", "rate: {per_second: 0.5}", "rate: {}", "breaker: {rest: 1m}"]
)
def test_right_options_are_taken(folder: Path, options: str) -> None:
    assert heads(folder, f"opi, options: {{{options}}}") == []


@pytest.mark.parametrize("kind", ["unisat", "bestinslot", "xverse", "okx"])
def test_a_key_comes_out_of_a_file_and_is_never_shown(folder: Path, kind: str) -> None:
    assert "gates.g.options: key_file is missing" in heads(folder, kind)[0]
    assert "key_file: cannot be read: No such file" in heads(folder, f"{kind}, options: {{key_file: gone}}")[0]
    assert "key_file: cannot be read: Is a directory" in heads(folder, f"{kind}, options: {{key_file: keys}}")[0]
    for wrong in ("", "two words", "two\nlines", "schlüssel", "a\x00b"):
        (folder / "wrong").write_text(wrong)
        (head,) = heads(folder, f"{kind}, options: {{key_file: wrong}}")
        assert "key_file: the file must hold one line" in head and (not wrong or wrong not in head)
    (folder / "wrong").write_bytes(b"\xff\xfe")
    assert "key_file: the file must hold one line" in heads(folder, f"{kind}, options: {{key_file: wrong}}")[0]


def test_keys_written_into_the_configuration_are_not_echoed(folder: Path) -> None:
    """Somebody will put the key itself there: it is refused, as an option that does not exist, and stays hidden."""
    file = folder / "f.yaml"
    file.write_text("gates: {g: {tickers: [AINN], checker: unisat, options: {api_key: very-secret}}}\n")
    with pytest.raises(ConfigError) as caught:
        check(file, Clock())
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "options: checkers must list two or more"),
        ("checkers: [{checker: opi}]", "options.checkers: checkers must list two or more"),
        ("checkers: opi", "options.checkers: checkers must list two or more"),
        ("checkers: [opi, opi]", "options.checkers[0]: must name a checker"),
        ("checkers: [{checker: opi}, {checker: opy}]", "options.checkers[1].checker: there is no checker plugin 'opy'"),
        ("checkers: [{checker: opi}, {checker: opi, url: x}]", "options.checkers[1].url: there is no such key"),
        ("checkers: [{checker: opi}, {checker: opi, options: [x]}]", "options.checkers[1].options: must be a mapping"),
        (
            "checkers: [{checker: opi}, {checker: opi, options: {url: x}}]",
            "options.checkers[1].options.url: must be a URL",
        ),
        (
            "checkers: [{checker: opi}, {checker: opi, options: {rate: {per_second: 0}}}]",
            "options.checkers[1].options.rate.per_second: must be a number above 0",
        ),
        (
            "checkers: [{checker: opi}, {checker: unisat, options: {key_file: gone}}]",
            "options.checkers[1].options.key_file: cannot be read",
        ),
        (
            "checkers: [{checker: opi}, {checker: quorum, options: {checkers: [{checker: opi}, {checker: ord, "
            "options: {x: 1}}]}}]",
            "options.checkers[1].options.checkers[1].options.x: ord has no such option",
        ),
        (
            "checkers: [{checker: opi}, {checker: opi}, {checker: ord}], agree: 1",
            "options.agree: must be a whole number from 2",
        ),
        (
            "checkers: [{checker: opi}, {checker: opi}, {checker: ord}], agree: 4",
            "options.agree: must be a whole number from 2",
        ),
        ("checkers: [{checker: opi}, {checker: opi}], lag: -1", "options.lag: must be a whole number from 0"),
    ],
)
def test_a_wrong_block_within_a_quorum_is_named_where_it_stands(folder: Path, options: str, said: str) -> None:
    (head,) = heads(folder, f"quorum, options: {{{options}}}")
    assert head.startswith(f"gates.g.{said}"), head


@pytest.mark.parametrize("decimals", ["18", "{ordi: 19}", "{ordi: -1}", '{ordi: "18"}'])
def test_decimals_are_those_that_a_token_can_have(folder: Path, decimals: str) -> None:
    assert heads(folder, f"ord, options: {{decimals: {decimals}}}")[0].startswith("gates.g.options.decimals")


def test_a_third_partys_checker_can_be_made_with_what_it_uses() -> None:
    """The rest of a context may be left out in its test."""
    from ngpu.plugins.opi import opi

    checker: Any = opi.from_options({}, PluginContext(Clock(), None, "."))
    assert IInscriptionChecker.providedBy(checker)


def test_the_commented_gate_of_the_example_names_every_checker() -> None:
    text = (ROOT / "config/ngpu.yaml").read_text()
    loads(text, "ngpu.yaml", ROOT)
    (line,) = [line for line in text.splitlines() if line.startswith("#   checker:")]
    assert all(name in line for name in ("static", "opi", "ord", "unisat", "okx", "bestinslot", "xverse", "quorum"))
