"""`ngpu plugins`: what it prints, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from ngpu.cli import main
from ngpu.cli.table import table
from ngpu.discovery import discover
from ngpu.families import FAMILIES


def listed(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["plugins", *map(str, arguments)])


def test_everything_that_there_is_is_listed_with_its_options() -> None:
    found = discover([])
    told = json.loads(listed("--json").stdout)
    assert {(each["family"], each["name"]): each["summary"] for each in told} == {
        key: factory.summary for key, factory in found.factories.items()
    }
    assert [each["family"] for each in told] == sorted((each["family"] for each in told), key=list(FAMILIES).index)
    (quorum,) = [each for each in told if each["name"] == "quorum"]
    assert {
        "name": "lag",
        "meaning": "how far one may be behind the others and still count",
        "default": 3,
        "unit": "blocks",
    } in quorum["options"]


def test_the_table_says_the_same_in_columns() -> None:
    plugins, options = listed().stdout.split("\n\n")
    head, *rows = plugins.splitlines()
    assert head.split() == ["FAMILY", "NAME", "ORIGIN", "SUMMARY"]
    assert len(rows) == len(discover([]).factories)
    for column in ("NAME", "ORIGIN", "SUMMARY"):
        assert all(row[head.index(column) - 2 : head.index(column)] == "  " for row in rows)
        assert all(row[head.index(column)] != " " for row in rows)
    head, *rows = options.splitlines()
    cuts = [head.index(column) for column in ("PLUGIN", "OPTION", "DEFAULT", "UNIT", "MEANING")]
    cells = [[row[start:end].strip() for start, end in zip(cuts, [*cuts[1:], None], strict=True)] for row in rows]
    assert ["quorum", "lag", "3", "blocks", "how far one may be behind the others and still count"] in cells
    assert ["quorum", "checkers", "-", ""] in [row[:4] for row in cells]


def test_a_default_that_is_a_bare_number_has_a_unit() -> None:
    """ "3" alone says nothing: three what?"""
    for factory in discover([]).factories.values():
        for option in factory.options:
            assert option.unit or type(option.default) not in (int, float), f"{factory.name}: {option.name}"


def test_a_configuration_that_is_wrong_elsewhere_still_says_where_its_plugins_are(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert CliRunner().invoke(main, ["plugins", "new", "selection", "my_own", "--into", str(tmp_path / "mine")])
    config = tmp_path / "ngpu.yaml"
    config.write_text("lissten: 3\nplugins: {path: [mine]}\n")
    assert "my_own" in listed("-c", config).stdout and "my_own" not in listed().stdout


def test_a_configuration_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for text, said in (
        (None, "there is no such file"),
        ("plugins: [", ""),
        ("plugins: {path: [away]}", "is no folder"),
    ):
        config = tmp_path / "ngpu.yaml"
        if text is not None:
            config.write_text(text)
        done = listed("-c", config)
        assert done.exit_code == 2 and said in done.stderr and not done.stdout


def test_columns_are_as_wide_as_they_look_on_a_terminal() -> None:
    """Chinese characters take two cells."""
    lines = table(("A", "B"), [("模型", "x"), ("long", "y"), ("", "z")]).splitlines()
    assert lines == ["A     B", "模型  x", "long  y", "      z"]
