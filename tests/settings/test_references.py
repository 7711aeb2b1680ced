"""Names between blocks, things that must not be there twice, and what this version cannot do."""

import hashlib
from pathlib import Path

import pytest
import yaml

from ngpu.settings import SettingsError, loads

KEY = "ab" * 32


def heads(text: str) -> list[str]:
    try:
        loads(text, "f", Path("/etc/ngpu"))
    except SettingsError as error:
        return [problem.head("f") for problem in error.problems]
    return []


def fleet(*workspaces: str, apps: str = "{}") -> str:
    """Two nodes and some workspaces, each a flow mapping on a line of its own from line 3 on."""
    nodes = 'nodes: [{address: "0xAA", host: a}, {address: bb, host: b}]\n'
    return nodes + "workspaces:\n" + "".join(f"- {{{each}}}\n" for each in workspaces) + f"apps: {apps}\n"


def serving(name: str, *more: str) -> str:
    return ", ".join([f'id: "{name}"', "ports: {80: 1, 81: 2}", "upstream: [{node: aa, ports: {80: 3, 81: 4}}]", *more])


@pytest.mark.parametrize("address", ["0xAA", "0xaa", "AA", "aa", "BB", "0xbb"])
def test_upstream_finds_its_node_in_every_spelling(address: str) -> None:
    """Wire contract §4: node addresses compare in any case, with or without 0x."""
    assert heads(fleet(f'id: w, ports: {{80: 1}}, upstream: [{{node: "{address}", ports: {{80: 3}}}}]')) == []


def test_an_unknown_node_is_named_with_the_nearest() -> None:
    assert heads(fleet('id: w, ports: {80: 1}, upstream: [{node: "0xAAA", ports: {80: 3}}]')) == [
        "f:3:45: workspaces[0].upstream[0].node: no node has the address '0xAAA' (did you mean '0xAA'?)"
    ]


def test_two_nodes_have_two_engines() -> None:
    """Either would take the other's copies for too many."""
    urls = ("unix:///s", "swarm+unix:///s", "docker+unix:///s", "tcp://h:1")
    text = "nodes:\n" + "".join(f'- {{address: "{at}", host: h, engine: "{url}"}}\n' for at, url in enumerate(urls))
    assert heads(text) == ["f:4:35: nodes[2].engine: the same engine as nodes[0] in line 2"]


def test_a_node_whose_quotes_were_forgotten_is_still_found() -> None:
    """One mistake is one problem: those who refer to it rightly are not blamed."""
    text = "nodes: [{address: 0xAB, host: a}]\nworkspaces:\n"
    text += '- {id: w, ports: {80: 1}, upstream: [{node: "0xab", ports: {80: 1}}]}'
    assert heads(text) == [
        'f:1:19: nodes[0].address: must be text, and YAML reads this as a number: put it in quotes, "0xAB"'
    ]


def test_upstream_ports_are_those_that_are_declared() -> None:
    assert heads(fleet("id: w, ports: {8080: 1, 8075: 2}, upstream: [{node: aa, ports: {8081: 3, 8075: 4}}]")) == [
        "f:3:60: workspaces[0].upstream[0].ports: the workspace declares port 8080 too: say where this replica listens "
        "for it",
        "f:3:68: workspaces[0].upstream[0].ports.8081: the workspace declares no such port (did you mean '8080'?)",
    ]


def test_ports_may_be_written_as_json_writes_them() -> None:
    loaded = loads(
        '{"nodes": [{"address": "aa", "host": "h"}], "workspaces": [{"id": "w", "ports": {"80": 1}, "upstream": '
        '[{"node": "aa", "ports": {"80": 3}}]}]}',
        "f",
        Path("/"),
    )
    assert dict(loaded.settings.workspaces[0].ports) == {80: 1}
    assert dict(loaded.settings.workspaces[0].upstream[0].ports) == {80: 3}


def test_apps_and_workspaces_refer_to_each_other() -> None:
    apps = (
        "{one: {adapter: passthrough, workspace: w, port: 82}, two: {adapter: passthrough, workspace: v},"
        " three: {adapter: passthrough, workspace: w, port: 81}}"
    )
    assert heads(fleet(serving("w", "apps: {x: thre, y: one}"), apps=apps)) == [
        "f:3:93: workspaces[0].apps.x: there is no app 'thre' (did you mean 'three'?)",
        "f:4:56: apps.one.port: the workspace declares no such port; known here: 80, 81",
        "f:4:100: apps.two.workspace: there is no workspace 'v'; known here: w",
    ]


def test_ids_and_addresses_are_there_once() -> None:
    nodes = 'nodes: [{address: "0xAA", host: a}, {address: aa, host: b}]\n'
    found = heads(nodes + fleet(serving("w"), serving("w")).partition("\n")[2])
    assert found == [
        "f:1:47: nodes[1].address: the same node as nodes[0] in line 1",
        "f:4:8: workspaces[1].id: the same workspace as workspaces[0] in line 3",
    ]


def test_a_credential_opens_one_workspace() -> None:
    """Else one customer's key would open another's tasks."""
    of_id = hashlib.sha256(b"c").hexdigest()
    text = fleet(serving("a", f"keys: ['{KEY}']"), serving("b", f"keys: ['{KEY.upper()}', '{of_id}']"), serving("c"))
    assert [head.partition(": ")[2] for head in heads(text)] == [
        "workspaces[1].keys[0]: this key is one of workspaces[0] in line 3: no two may share one",
        "workspaces[1].keys[1]: this key is the id of workspaces[2] in line 5: no two may share one",
    ]


def test_the_id_of_a_workspace_with_keys_opens_nothing_and_may_be_anothers_key() -> None:
    of_id = hashlib.sha256(b"c").hexdigest()
    assert heads(fleet(serving("b", f"keys: ['{of_id}']"), serving("c", f"keys: ['{KEY}']"))) == []


def test_an_image_needs_an_engine_and_stands_alone() -> None:
    image = "id: w, ports: {80: 1}, image: {reference: r}"
    assert heads(fleet(image)) == ["f:3:27: workspaces[0].image: no node has an engine: to deploy it with"]
    engine = 'nodes: [{address: aa, host: h, engine: "unix:///run/docker.sock"}]'
    assert heads(f"{engine}\nworkspaces: [{{{image}}}]") == []
    assert heads(f"{engine}\nworkspaces: [{{{image}, upstream: [{{node: aa, ports: {{80: 1}}}}]}}]") == [
        "f:2:38: workspaces[0].image: stands beside upstream: leave out one of them"
    ]


@pytest.mark.parametrize("engine", ["swarm+tcp://h:2376", "ssh://root@h", "ssh://h:22", "unix:///run/docker.sock"])
def test_the_ways_in_which_an_engine_is_reached(engine: str) -> None:
    loads(f'nodes: [{{address: aa, host: h, engine: "{engine}"}}]', "f", Path("/"))


@pytest.mark.parametrize("engine", ["http://h", "tcp://h", "ssh://a:b@h", "unix://run/docker.sock", "Swarm+unix:///a"])
def test_other_ways_are_refused(engine: str) -> None:
    assert (
        "must be unix:///run/docker.sock, tcp://" in heads(f'nodes: [{{address: aa, host: h, engine: "{engine}"}}]')[0]
    )


def test_what_has_no_effect_is_a_warning() -> None:
    text = """\
nodes: [{address: aa, host: h}]
workspaces:
- id: w
  ports: {80: 1}
  upstream: [{node: aa, ports: {80: 1}}]
  rate: {burst: 5}
  webhook_secret: whsec_AAAA
"""
    assert loads(text, "f", Path("/")).warnings == (
        "f:6:10: workspaces[0].rate.burst: has no effect without per_second",
    )
    assert loads(fleet(serving("w")), "f", Path("/")).warnings == ()


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("rate: {per_second: 0.0001}", "rate.per_second: must be a number such as 5 or 0.5, of at least 0.001, or 0"),
        ("rate: {per_second: -1}", "rate.per_second: must be"),
        ("rate: {per_second: .inf}", "rate.per_second: must be"),
        ("rate: {per_second: .nan}", "rate.per_second: must be"),
        ('rate: {per_second: "5"}', "rate.per_second: must be"),
        ("rate: {per_minute: 5}", "rate.per_minute: there is no such key here"),
        ("rate: {per_second: 1, burst: 1.5}", "rate.burst: must be a whole number"),
        ("quota: {per_day: -1}", "quota.per_day: must be"),
        ("quota: 5", "quota: must be"),
    ],
)
def test_limits_that_are_none(block: str, said: str) -> None:
    assert said in heads(fleet(serving("w", block)))[0]


@pytest.mark.parametrize(
    ("public", "admin", "clash"),
    [
        ("tcp:80", "tcp:80", True),
        ("tcp:80:interface=127.0.0.1", "tcp:80", True),
        ("tcp:80:interface=127.0.0.1", "tcp:port=80:interface=0.0.0.0", True),
        ("tcp:80:interface=127.0.0.1", "tcp:80:interface=127.0.0.2", False),
        ("tcp:80:interface=127.0.0.1", "tcp:81:interface=127.0.0.1", False),
        ("tcp:0", "tcp:0", False),
        ("unix:/run/a", "unix:/run/b", False),
    ],
)
def test_two_listeners_cannot_have_one_port(public: str, admin: str, clash: bool) -> None:
    found = heads(f'listen: ["{public}"]\nadmin: {{listen: ["{admin}"]}}')
    said = "f:2:18: admin.listen[0]: port 80 is taken by listen[0] in line 1: choose another one"
    assert found == ([said] if clash else [])


def _with_image(reference: str) -> str:
    block = {"id": "w", "ports": {80: 1}, "image": {"reference": reference}}
    node = {"address": "aa", "host": "h", "engine": "unix:///run/docker.sock"}
    return yaml.safe_dump({"nodes": [node], "workspaces": [block]})


@pytest.mark.parametrize(
    "reference",
    [
        "busybox",
        "library/busybox:1.36",
        "registry.example:5000/team/app-1_x.y__z:V1.0-rc_1",
        "localhost/app@sha256:" + "0a" * 32,
        "[::1]:5000/app:1@sha256:" + "0a" * 32,
        "Host/app",
    ],
)
def test_names_of_images(reference: str) -> None:
    assert heads(_with_image(reference)) == []


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "-x",
        "../containers/json",
        "a/../../containers/b",
        "a/./b",
        "a//b",
        "/a",
        "UPPER",
        "a b",
        "a?b=c",
        "a%2e%2e/b",
        "a:tag/../b",
        "http://h/app",
        "a@sha256:12",
        "é",
        "a\n",
        "a" * 513,
        "a-" * 20000 + "!",
    ],
)
def test_a_name_of_an_image_leads_nowhere_else(reference: str) -> None:
    (told,) = heads(_with_image(reference))
    assert told.endswith("image.reference: must be an image's name, such as registry.example/app:1 or busybox")


def test_no_program_can_be_given_a_nul() -> None:
    node = 'nodes: [{address: aa, host: h, engine: "unix:///run/docker.sock"}]'
    odd = 'id: w, ports: {80: 1}, image: {reference: r}, command: ["a", "b\\0c"], env: {A: "secret\\0"}'
    told = heads(f"{node}\nworkspaces: [{{{odd}}}]")
    nul = "holds a NUL character, which no program can be given"
    assert [each.partition("workspaces[0].")[2] for each in told] == [f"command[1]: {nul}", f"env.A: {nul}"]


def test_a_host_leads_to_one_workspace() -> None:
    """In any spelling: else who gets a call would be a matter of order in the file."""
    one, two = serving("a", 'hosts: ["sd.example.com", "x.test"]'), serving("b", 'hosts: ["y.test", "SD.example.com."]')
    (found,) = heads(fleet(one, two))
    assert found.endswith("workspaces[1].hosts[1]: the same host as workspaces[0].hosts in line 3")
    assert heads(fleet(serving("a", 'hosts: ["x.test", "X.test"]')))
    assert heads(fleet(one, serving("b", 'hosts: ["z.test"]'))) == []


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "::1", "a b", "*.test", "http://a", "a:80", "a/b", "", "-a", "a..b", "[::1]"]
)
def test_what_is_no_host_name_is_refused(host: str) -> None:
    assert "workspaces[0].hosts[0]" in heads(fleet(serving("a", f'hosts: ["{host}"]')))[0]
