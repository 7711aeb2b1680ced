"""The defaults, and that ``config/ngpu.yaml`` says them, each key of it and no other."""

import re
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ngpu.settings import AppRoute, QueryAlias, load, loads
from ngpu.settings.root import Settings
from ngpu.settings.shape import keys_at

EXAMPLE = Path(__file__).parents[2] / "config" / "ngpu.yaml"

BLOCKS = [
    *((), ("store",), ("admin",), ("limits",), ("plugins",), ("egress",), ("media",), ("cloud",)),
    *(("log",), ("tracing",), ("cloud", "accounts", 0), ("fleet",), ("registries", "r")),
    *(("workspaces", 0, "container"),),
    *(("workspaces", 0, "placement"), ("workspaces", 0, "container", "mounts", 0)),
    *(("nodes", 0), ("nodes", 0, "gpus"), ("nodes", 0, "tls"), ("workspaces", 0), ("workspaces", 0, "image")),
    *(("workspaces", 0, "gpus"), ("workspaces", 0, "upstream", 0), ("workspaces", 0, "health")),
    *(("workspaces", 0, "queue"), ("workspaces", 0, "selection"), ("gates", "x"), ("apps", "x", "<route>")),
    *(("workspaces", 0, "selection", "require"), ("workspaces", 0, "selection", "require", "gpus")),
    *(("apps", "x", "<query>"), ("workspaces", 0, "rate"), ("workspaces", 0, "quota"), ("workspaces", 0, "raw")),
]  # fmt: skip


def uncommented() -> str:
    """The example file with its examples in use, and the empty blocks that stand for them away."""
    text = re.sub(r"(?m)^##.*$", "", EXAMPLE.read_text())
    text = re.sub(r"(?m)^( *(?:nodes|workspaces|accounts|gates|apps|registries):) (?:\[\]|\{\})$", r"\1", text)
    return re.sub(r"(?m)^( *)# ", r"\1  ", text)


def test_the_example_file_loads_without_a_warning() -> None:
    loaded = load(EXAMPLE)
    assert loaded.warnings == ()


def test_the_example_file_says_the_defaults() -> None:
    said = "store: {path: var/ngpu.sqlite}"  # of the plugin: tests/stores/test_blocks.py
    assert load(EXAMPLE).settings == loads(said, "f", EXAMPLE.parent).settings


def test_the_examples_in_it_work_once_they_are_uncommented() -> None:
    settings = loads(uncommented(), "f", EXAMPLE.parent).settings
    assert [node.host for node in settings.nodes] == ["127.0.0.1"]
    assert [workspace.id for workspace in settings.workspaces] == ["367614711220405248"]
    assert set(settings.gates) == {"ainn"}
    assert set(settings.apps) == {"img2img", "getImage"}
    assert len(settings.cloud.accounts) == 1


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_key_stands_in_the_example_file(block: tuple[str | int, ...]) -> None:
    text = EXAMPLE.read_text()
    assert keys_at(block)
    for key in keys_at(block):
        assert re.search(rf"(?<!\w){key}:", text), key


def test_examples_in_it_say_the_defaults() -> None:
    """What stands beside a key that has a default is that default, unless it says so."""
    text = uncommented()
    workspace = loads(text, "f", EXAMPLE.parent).settings.workspaces[0]
    minimal = loads(
        f'nodes: [{{address: "{workspace.upstream[0].node}", host: h}}]\n'
        f'workspaces: [{{id: "{workspace.id}", ports: {{8080: 7860}}, upstream: [{{node: '
        f'"{workspace.upstream[0].node}", ports: {{8080: 18080}}}}]}}]',
        "f",
        EXAMPLE.parent,
    ).settings.workspaces[0]
    examples = {"command"}
    for key in keys_at(("workspaces", 0)):
        if key not in examples:
            assert getattr(workspace, key) == getattr(minimal, key), key


def test_the_defaults_are_those_of_the_design() -> None:
    settings = loads("{}", "f", Path("/etc/ngpu")).settings
    assert settings.listen == ("tcp:8080:interface=127.0.0.1",)
    assert settings.zone == ZoneInfo("UTC")
    assert (settings.store.kind, dict(settings.store.options)) == ("sqlite", {})
    assert settings.media.folder == Path("/etc/ngpu/var/media")
    assert settings.spool == Path("/etc/ngpu/var/spool")
    assert settings.admin.listen == ("tcp:8081:interface=127.0.0.1",)
    assert settings.admin.token_file == Path("/etc/ngpu/var/admin.token")
    assert settings.admin.open_metrics is False
    assert (settings.node_grace, settings.trusted_proxies, settings.egress.allow) == (300.0, (), ())
    limits = settings.limits
    assert (limits.head_timeout, limits.head_size, limits.header_count, limits.idle_timeout) == (10.0, 65536, 100, 75.0)
    assert (limits.body_rate, limits.body_window, limits.connections, limits.write_timeout) == (1024, 30.0, 10000, 60.0)
    assert (limits.body_memory, limits.streams) == (2**30, 1000)


def test_the_defaults_of_a_workspace_are_those_of_the_design() -> None:
    text = """\
nodes: [{address: "0xAA", host: a}]
workspaces:
- {id: w, ports: {8080: 7860, 80: 1}, upstream: [{node: aa, ports: {80: 2, 8080: 18080}}]}
"""
    settings = loads(text, "f", Path("/")).settings
    one = settings.workspaces[0]
    assert (one.name, one.keys, one.gate, one.path, one.slots, dict(one.apps)) == ("", (), None, "", 1, {})
    assert list(one.ports) == [8080, 80]
    assert (one.queue.limit, one.queue.ttl, one.timeout, one.retention) == (1000, 86400.0, 300.0, 7 * 86400.0)
    assert (one.inline_wait, one.retry, one.body_limit, one.result_limit) == (0.0, "connect", 2**26, 2**28)
    assert (one.health.path, one.health.interval, one.health.timeout, one.health.grace) == ("/", 10.0, 5.0, 120.0)
    assert (one.selection.policy, dict(one.selection.options), one.webhook_secret) == ("fastest", {}, "")
    assert (one.selection.require.gpus.type, one.selection.require.gpus.memory) == ("", 0)
    assert dict(one.selection.require.labels) == {}
    assert (one.rate.per_second, one.rate.burst, one.quota.per_day) == (0.0, 0, 0)
    assert (settings.nodes[0].weight, settings.nodes[0].gpus.count, settings.nodes[0].gpus.memory) == (1, 0, 0)


def test_values_arrive_as_what_they_mean() -> None:
    text = f"""\
trusted_proxies: [10.0.0.0/8, 192.0.2.1, "fd00::/8"]
timezone: Asia/Shanghai
gates: {{g: {{checker: c, tickers: [AINN, 币币], minimum: "0.100000000000000001", options: {{a: {{b: [1]}}}}}}}}
apps: {{q: {{query: yes}}, i: {{adapter: passthrough, workspace: w, mode: async}}}}
nodes: [{{address: aa, host: "::1", gpus: {{type: T, count: 2, memory: 24GiB}}}}]
workspaces: [{{id: w, keys: ["{"AB" * 32}"], ports: {{80: 1}}, upstream: [{{node: aa, ports: {{80: 2}}}}], gate: g}}]
"""
    settings = loads(text, "f", Path("/")).settings
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("192.0.2.1/32"), ip_network("fd00::/8"))
    assert settings.zone == ZoneInfo("Asia/Shanghai")
    gate = settings.gates["g"]
    assert gate.minimum == Decimal("0.100000000000000001")
    assert (gate.on_unknown, gate.cache, gate.options["a"]) == ("deny", 60.0, {"b": [1]})
    assert isinstance(settings.apps["q"], QueryAlias)
    app = settings.apps["i"]
    assert isinstance(app, AppRoute)
    assert (app.mode, app.port, app.path) == ("async", None, "")
    assert settings.nodes[0].gpus.memory == 24 * 2**30
    assert settings.workspaces[0].keys == ("ab" * 32,)
    assert Settings.model_fields.keys() == set(keys_at(()))
