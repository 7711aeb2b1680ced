"""``selection.require``: what no node can meet is told of at its place, and what some node meets is no problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngpu.settings import SettingsError, loads

NODES = """\
nodes:
  - {address: "0xAA", host: a, gpus: {type: "RTX 3090", count: 2, memory: 24GiB}, labels: {area: eu}}
  - {address: "0xBB", host: b, gpus: {type: "A100", count: 1, memory: 80GiB}, labels: {area: us, "2": x}}
  - {address: "0xCC", host: c}
"""


def problems(require: str, nodes: str = "aa, 0xbb, CC") -> list[str]:
    upstream = ", ".join(f'{{node: "{each.strip()}", ports: {{80: 81}}}}' for each in nodes.split(","))
    block = f"{{id: w, ports: {{80: 1}}, upstream: [{upstream}], selection: {{require: {require}}}}}"
    text = f"{NODES}workspaces: [{block}]"
    try:
        loads(text, "f", Path("/"))
    except SettingsError as error:
        return [
            each.head("f").split(": ", 1)[1].removeprefix("workspaces[0].selection.require") for each in error.problems
        ]
    return []


@pytest.mark.parametrize(
    "require",
    [
        "{}",
        "{gpus: {type: A100}}",
        "{gpus: {memory: 80GiB}, labels: {area: us}}",
        "{labels: {area: eu}}",
        '{labels: {"2": x}}',
        '{gpus: {type: "", memory: 0}, labels: {}}',
    ],
)
def test_what_a_node_meets(require: str) -> None:
    assert problems(require) == []


@pytest.mark.parametrize(
    ("require", "said"),
    [
        (
            "{gpus: {type: RTX3090}}",
            [".gpus.type: no node of this workspace's upstream has 'RTX3090' here (did you mean 'RTX 3090'?)"],
        ),
        (
            "{gpus: {type: T4}}",
            [".gpus.type: no node of this workspace's upstream has 'T4' here; known here: RTX 3090, A100"],
        ),
        ("{gpus: {memory: 81GiB}}", [".gpus.memory: no node of this workspace's upstream has so much"]),
        (
            "{labels: {area: asia, zone: a}}",
            [
                ".labels.area: no node of this workspace's upstream has 'asia' here; known here: eu, us",
                ".labels.zone: no node of this workspace's upstream has 'a' here",
            ],
        ),
        (
            "{gpus: {type: A100}, labels: {area: eu}}",
            [": no node of this workspace's upstream has all of this"],
        ),
        ("{gpus: {typ: A100}}", [".gpus.typ: there is no such key here (did you mean 'type'?)"]),
        ("{gpus: A100}", [".gpus: must be a block"]),
        ("{labels: {area: 7}}", [".labels.area: must be text, and YAML reads this as a number"]),
        ("{gpus: {memory: -1}}", [".gpus.memory: must be a size such as 512KiB, 64MiB or 24GB"]),
    ],
)
def test_what_no_node_meets_is_told_of_at_its_place(require: str, said: list[str]) -> None:
    assert [each[: len(wanted)] for each, wanted in zip(problems(require), said, strict=True)] == said


def test_only_nodes_where_the_workspace_has_replicas_count() -> None:
    assert problems("{gpus: {type: A100}}", "aa, bb") == []
    assert problems("{gpus: {type: A100}}", "aa, cc") != []


def test_what_else_is_wrong_is_not_told_twice() -> None:
    (only,) = problems("{gpus: {type: T4}}", "aa, dd")
    assert "no node has the address" in only
