"""The YAML itself: syntax, tags, aliases, merges and the limits on all of them."""

import time
from pathlib import Path

import pytest
import yaml

from ngpu.settings import SettingsError, composer, loads
from ngpu.settings.document import read_document


def report(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        loads(text, "f", Path("/"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a: b: c", "f:1:5: not valid YAML: a ': ' too many"),
        ("a:\n\t- x", "f:2:1: not valid YAML: a tab stands where YAML wants spaces\n"),
        ("a: 1\nb: 'x\nc: 1", "f:2:4: not valid YAML: the quote that opens here is never closed\n    b: 'x\n       ^"),
        (
            "a: 1\nb: [1\n",
            "f:2:4: not valid YAML: this bracket is never closed, or a ',' is missing\n    b: [1\n       ^",
        ),
        ("b: [1,", "f:1:7: not valid YAML: a value is missing here, or a bracket is never closed"),
        ("a: 1\nb\n", "f:2:1: not valid YAML: a key without its ':'\n    b\n    ^"),
        ("a: @x", "f:1:4: not valid YAML: a value cannot begin with this character: put it in quotes"),
        ("a: *\n", "f:1:4: not valid YAML: text that begins with '*' or '&' has to stand in quotes"),
        ("a: 1\n---\nb: 1", "f:2:1: a second document begins here; there can be only one"),
        ("ok: 1\nna\0me: 1", "f:2:3: this character is not allowed in YAML\n    na\ufffdme: 1\n      ^"),
        ("a: \ud800", "f:1:4: this character is not allowed in YAML"),
        ("", "f: the file is empty"),
        ("# nothing\n", "f: the file is empty"),
        ("null", "f: the file is empty"),
        ("? [a]\n: b", "f:1:3: a key must be a plain name, not a list or a mapping"),
    ],
)
def test_what_is_no_yaml_has_its_place(text: str, start: str) -> None:
    assert report(text).startswith(start)


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!!python/name:os.system", "!x", "!!set", "!!binary"])
@pytest.mark.parametrize("value", ["x", "[]", "{}"])
def test_tags_construct_nothing(tag: str, value: str) -> None:
    assert "f:1:13: timezone: this tag is not allowed" in report(f"timezone:   {tag} {value}")


def test_harmless_tags_are_fine() -> None:
    assert loads("timezone: !!str UTC\nprocesses: !!int '1'\nnodes: !!seq []", "f", Path("/")).settings.processes == 1


def test_values_that_do_not_fit_their_tag() -> None:
    assert "f:1:12: processes: this is no whole number" in report("processes: !!int x")
    assert "f:1:23: admin.open_metrics: this is neither true nor false" in report("admin: {open_metrics: !!bool x}")


def test_dates_are_text() -> None:
    """Versions and image tags look like dates; nothing here is one."""
    assert read_document("a: 2024-01-01\nb: 2024-99-99").values == {"a": "2024-01-01", "b": "2024-99-99"}


def test_values_are_those_of_pyyaml() -> None:
    """Beside the traps, what PyYAML's safe loader reads is what counts."""
    text = "[a, 1, -2, 1_000, 0x1F, 0b11, 1.5, -.inf, yes, Off, ~, '', \"x\\ny\", '5', {a: {b: [c]}, 7: d}, 1e3, =]"
    assert read_document(text).values == yaml.safe_load(text.replace(", =]", ", '=']"))


def test_aliases_and_merges_work() -> None:
    text = """\
nodes:
  - &one {address: "0x01", host: a, gpus: &gpus {type: T, count: 2}, labels: {area: eu}}
  - {<<: *one, address: "0x02"}
  - {address: "0x03", host: c, gpus: *gpus}
  - {<<: [{host: d, weight: 7}, *one], address: "0x04"}
"""
    nodes = loads(text, "f", Path("/")).settings.nodes
    assert [(node.address, node.host, node.gpus.count, node.weight) for node in nodes] == [
        ("0x01", "a", 2, 1),
        ("0x02", "a", 2, 1),
        ("0x03", "c", 2, 1),
        ("0x04", "d", 2, 7),
    ]


def test_a_wrong_value_in_an_alias_is_shown_where_it_is_written() -> None:
    text = "nodes:\n- &n {address: a, host: h, weight: none}\n- {<<: *n, address: b}\n"
    assert [line for line in report(text).splitlines() if line.startswith("f:")] == [
        "f:2:36: nodes[0].weight: must be a whole number",
        "f:2:36: nodes[1].weight: must be a whole number",
    ]


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("listen: *x", "f:1:9: listen: no &x stands before this alias"),
        ("a: &gpu 1\nlisten: *gpus", "f:2:9: listen: no &gpus stands before this alias (did you mean 'gpu'?)"),
        ("nodes: &n [*n]", "f:1:12: nodes[0]: *n stands inside of what it repeats"),
        ("nodes: &n\n- {<<: *n}", "f:2:8: nodes[0].'<<': *n stands inside of what it repeats"),
        ("<<: 5", "f:1:5: '<<': can merge mappings only"),
        ("<<: [[]]", "f:1:6: '<<': can merge mappings only"),
        ("<<: {}\n<<: {}", "f:2:1: '<<': is here twice; line 1 has it"),
    ],
)
def test_aliases_and_merges_that_are_wrong(text: str, head: str) -> None:
    assert head in report(text)


def _laughs() -> str:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [f"{c}: &{c} [{','.join(['*' + p] * 9)}]" for p, c in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(lines)


def _merges() -> str:
    keys = ", ".join(f"k{number}: 1" for number in range(500))
    return f"a: &a {{{keys}}}\nb: {{<<: [{', '.join(['*a'] * 5000)}]}}"


def _chain() -> str:
    return "a0: &a0 [x]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 5000))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_laughs(), "more than 100000 values"),
        (_merges(), "more than 100000 values"),
        ("x: [" + "1," * 100_001 + "]", "more than 100000 values"),
        (_chain(), "lists and mappings stand more than 64 deep"),
        ("[" * 500_000, "lists and mappings stand more than 64 deep"),
        ("- " * 500_000, "lists and mappings stand more than 64 deep"),
        ("{a: " * 500_000, "lists and mappings stand more than 64 deep"),
        ("x" * (4 * 1024 * 1024 + 1), "is larger than 4 MiB"),
        ("processes: " + "9" * 1_000_000, "this number is too long"),
    ],
    ids=["laughs", "merges", "values", "aliases", "lists", "items", "maps", "size", "digits"],
)
def test_bombs_end_soon(text: str, message: str) -> None:
    began = time.process_time()
    assert message in report(text)
    assert time.process_time() - began < 10


def test_an_alias_may_repeat_much_that_is_small() -> None:
    nodes = "".join(f"- {{<<: *n, address: n{number}}}\n" for number in range(2000))
    assert len(loads(f"nodes:\n- &n {{address: n, host: h}}\n{nodes}", "f", Path("/")).settings.nodes) == 2001


def test_the_pure_python_parser_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may have been built without libyaml."""
    monkeypatch.setattr(composer, "_LOADER", yaml.SafeLoader)
    assert read_document("a: &x [1, {b: 'c'}]\nd: *x").values == {"a": [1, {"b": "c"}], "d": [1, {"b": "c"}]}
    assert report("processes: 0").startswith("f:1:12: processes: must be 1 or more\n")
    assert report("a: 'x").startswith("f:1:4: not valid YAML")
    assert "more than 64 deep" in report("[" * 5000)


def test_a_thousand_nodes_load_quickly() -> None:
    text = "nodes:\n" + "".join(
        f'- address: "0x{number:040x}"\n  host: 10.0.{number // 250}.{number % 250}\n'
        f'  gpus: {{type: "RTX 3090", count: 2, memory: 24GiB}}\n  labels: {{area: eu}}\n  weight: 1\n'
        for number in range(1000)
    )
    began = time.process_time()
    assert len(loads(text, "f", Path("/")).settings.nodes) == 1000
    assert time.process_time() - began < 5
