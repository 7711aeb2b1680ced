# ruff: noqa: E501 - a row of a table is one line
"""What operators get wrong, and the exact first line of what they are told."""

from pathlib import Path

import pytest

from ngpu.settings import SettingsError, loads

NODE = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
WORKSPACE = """\
nodes: [{address: "0xAA", host: 10.0.0.1}]
gates: {ainn: {checker: static, tickers: [AINN]}}
workspaces:
  - id: "1"
    ports: {8080: 7860}
    upstream: [{node: "0xaa", ports: {8080: 18080}}]
"""


def heads(text: str) -> list[str]:
    """The first line of each problem; empty when there is none."""
    try:
        loads(text, "f", Path("/etc/ngpu"))
    except SettingsError as error:
        return [problem.head("f") for problem in error.problems]
    return []


def workspace(*lines: str) -> str:
    return WORKSPACE + "".join(f"    {line}\n" for line in lines)


TABLE = [
    # what terminals and logs would obey
    (workspace('name: "a\\e[31m"'), "f:7:11: workspaces[0].name: must be a single line without control characters"),
    (workspace('name: "a\\nb"'), "f:7:11: workspaces[0].name: must be a single line without control characters"),
    # keys
    ("procesess: 1", "f:1:1: procesess: there is no such key (did you mean 'processes'?)"),
    ("1: x", "f:1:1: 1: there is no such key; known here: listen, "),
    ("folder: x", "f:1:1: folder: there is no such key"),
    ("limits:\n  head_timeot: 1s", "f:2:3: limits.head_timeot: there is no such key here (did you mean 'head_timeout'?)"),
    ("apps: {a: {query: true, path: x}}", "f:1:25: apps.a.path: there is no such key here; known here: query"),
    ("processes: 1\n\nprocesses: 1", "f:3:1: processes: is here twice; line 1 has it"),
    ("limits: {head_size: 1KiB, head_size: 2KiB}", "f:1:27: limits.head_size: is here twice; line 1 has it"),
    ("{processes: 1, 'processes': 1}", "f:1:16: processes: is here twice; line 1 has it"),
    # types
    ("nodes: 5", "f:1:8: nodes: must be a list, even of one: [\"5\"]"),
    ("nodes: {}", "f:1:8: nodes: must be a list"),
    ("nodes: [5]", "f:1:9: nodes[0]: must be a block of keys and values, not a number"),
    ("gates: []", "f:1:8: gates: must be a block of keys and values, not a list"),
    ("nodes:", "f:1:7: nodes: has no value: write one, or leave the key out"),
    ("processes: two", "f:1:12: processes: must be a whole number"),
    ('processes: "1"', "f:1:12: processes: must be a whole number, without quotes"),
    ("processes: yes", "f:1:12: processes: must be a whole number, not true"),
    ("processes: 1.5", "f:1:12: processes: must be a whole number, not a fraction"),
    ("processes: 0", "f:1:12: processes: must be 1 or more"),

    ("admin: {open_metrics: 'true'}", "f:1:23: admin.open_metrics: must be true or false, without quotes"),
    ("admin: {open_metrics: maybe}", "f:1:23: admin.open_metrics: must be true or false"),
    ("admin: {token_file: 5}", "f:1:21: admin.token_file: must be a path: put it in quotes, \"5\""),
    ("[]", "f:1:1: must be a block of keys and values, not a list"),
    # traps of YAML 1.1
    (f"nodes: [{{address: {NODE}, host: h}}]", f'f:1:19: nodes[0].address: must be text, and YAML reads this as a number: put it in quotes, "{NODE}"'),
    ("workspaces:\n- id: 367614711220405248", 'f:2:7: workspaces[0].id: must be text, and YAML reads this as a number: put it in quotes, "367614711220405248"'),
    ("workspaces:\n- id: 000000000000004", 'f:2:7: workspaces[0].id: YAML reads this as the number 4, in octal: put it in quotes, "000000000000004"'),
    ("nodes: [{address: a, host: h, labels: {area: no}}]", 'f:1:46: nodes[0].labels.area: must be text, and YAML reads this as false: put it in quotes, "no"'),
    ("nodes: [{address: a, host: h, labels: {on: x}}]", 'f:1:40: nodes[0].labels: YAML reads this key as true: put it in quotes, "on"'),
    ("nodes: [{address: a, host: h, labels: {5: x}}]", 'f:1:40: nodes[0].labels.5: YAML reads this key as a number: put it in quotes, "5"'),
    ("node_grace: 1:30", 'f:1:13: node_grace: YAML reads this as the number 90, in base 60: put it in quotes, "1:30"'),
    ("node_grace: 1:30.5", 'f:1:13: node_grace: YAML reads this as a number in base 60: put it in quotes, "1:30.5"'),
    ("processes: 01", 'f:1:12: processes: YAML reads this as the number 1, in octal: put it in quotes, "01"'),
    ("gates: {g: {checker: c, tickers: [AINN], minimum: 0.1}}", 'f:1:51: gates.g.minimum: is read as an inexact number: put it in quotes, "0.1"'),
    ("gates: {g: {checker: c, tickers: [1000]}}", 'f:1:35: gates.g.tickers[0]: must be text, and YAML reads this as a number: put it in quotes, "1000"'),
    # units
    ("node_grace: 30", "f:1:13: node_grace: needs a unit (ms, s, m, h, d), such as 30s"),
    ("node_grace: 30min", "f:1:13: node_grace: has an unknown unit 'min'; known here: ms, s, m, h, d"),
    ("node_grace: -3s", "f:1:13: node_grace: must be a duration such as 10s, 5m or 1d"),
    ("node_grace: yes", "f:1:13: node_grace: must be a duration such as 10s, 5m or 1d"),
    ("limits: {head_size: 64Kib}", "f:1:21: limits.head_size: has an unknown unit 'Kib' (did you mean 'KiB'?)"),
    ("limits: {head_size: 0}", "f:1:21: limits.head_size: must be more than 0"),
    ("limits: {idle_timeout: 0s}", "f:1:24: limits.idle_timeout: must be more than 0"),
    # single values
    ("timezone: Europe/Berln", "f:1:11: timezone: there is no such time zone; names look like UTC or Europe/Berlin (did you mean 'Europe/Berlin'?)"),
    ("timezone: ../../etc/passwd", "f:1:11: timezone: there is no such time zone"),
    ("listen: []", "f:1:9: listen: must have at least one entry"),
    ("listen: tcp:8080", 'f:1:9: listen: must be a list, even of one: ["tcp:8080"]'),
    ("listen: ['8080']", "f:1:10: listen[0]: must be a Twisted endpoint description, such as tcp:8080:interface=127.0.0.1"),
    ("listen: ['tpc:8080']", "f:1:10: listen[0]: is no Twisted endpoint description, such as tcp:8080:interface=127.0.0.1 (did you mean 'tcp'?)"),
    ("listen: ['tcp:65536']", "f:1:10: listen[0]: has no port between 0 and 65535"),
    ("listen: ['tcp:port=99999']", "f:1:10: listen[0]: has no port between 0 and 65535"),
    ("listen: ['tcp:80:interace=x']", "f:1:10: listen[0]: tcp: does not take these arguments"),
    ("listen: ['ssl:443:privateKey=/does/not/exist']", "f:1:10: listen[0]: the certificate /does/not/exist cannot be read (No such file or directory)"),
    ("listen: ['ssl:443:privateKey=/dev/null']", "f:1:10: listen[0]: the certificate /dev/null is no file"),
    ("listen: ['ssl:443']", "f:1:10: listen[0]: privateKey=<file> is missing"),
    ("listen: ['ssl:privateKey=x']", "f:1:10: listen[0]: ssl: needs a port: ssl:<port>:privateKey=<file>:certKey=<file>"),
    ("listen: ['ssl:1:privateKey=x:key=y']", "f:1:10: listen[0]: ssl: does not take these arguments"),
    ("listen: ['ssl:1:x:y:TLSv1_METHOD']", "f:1:10: listen[0]: sslmethod is not taken: TLS 1.2 and 1.3 are spoken"),
    ("listen: ['systemd:domain=INET:name=a:certKey=x']", "f:1:10: listen[0]: privateKey=<file> is missing"),
    ("trusted_proxies: [10.0.0.1/8]", "f:1:19: trusted_proxies[0]: has bits beyond its prefix: the network is 10.0.0.0/8"),
    ("trusted_proxies: [10.0.0]", "f:1:19: trusted_proxies[0]: must be a network such as 10.0.0.0/8, or an address"),
    ("nodes: [{address: a, host: 'http://h'}]", "f:1:28: nodes[0].host: must be a host name or an IP address, without scheme, port or path"),
    ("nodes: [{address: a, host: 'h:80'}]", "f:1:28: nodes[0].host: must be a host name"),
    ("nodes: [{address: a, host: h, weight: 0}]", "f:1:39: nodes[0].weight: must be 1 or more"),
    ("nodes: [{address: a, host: h, engine: docker}]", "f:1:39: nodes[0].engine: must be unix:///run/docker.sock, tcp://host:2376 or ssh://user@host"),
    ("nodes: [{host: h}]", "f:1:9: nodes[0].address: is missing"),
    ("store: 5", "f:1:8: store: must be a block of keys and values, not a number"),
    ("store: {kind: 5}", "f:1:15: store.kind: must be text, and YAML reads this as a number"),
    ("gates: {g: {tickers: [AINN]}}", "f:1:9: gates.g.checker: is missing"),
    ("gates: {g: {checker: c, tickers: []}}", "f:1:34: gates.g.tickers: must have at least one entry"),
    ("gates: {g: {checker: c, tickers: [abc]}}", "f:1:35: gates.g.tickers[0]: must be a ticker of 4 to 6 bytes"),
    ("gates: {g: {checker: c, tickers: [ééé, 币币币]}}", "f:1:40: gates.g.tickers[1]: must be a ticker of 4 to 6 bytes"),
    ("gates: {g: {checker: c, tickers: [AINN, ainn]}}", "f:1:34: gates.g.tickers: has a ticker twice"),
    ("gates: {g: {checker: c, tickers: [AINN], minimum: '1e9'}}", "f:1:51: gates.g.minimum: must be a decimal number"),
    ("gates: {g: {checker: c, tickers: [AINN], on_unknown: refuse}}", "f:1:54: gates.g.on_unknown: must be 'deny' or 'allow'"),
    ("apps: {getTask: {query: true}}", "f:1:8: apps.getTask: this is the name of a built-in call; choose another"),
    ("apps: {a/b: {query: true}}", "f:1:8: apps.'a/b': an app's name may have letters"),
    ("apps: {a: {query: false}}", "f:1:19: apps.a.query: must be true; leave the key out"),
    ("cloud: {accounts: [{email: e, password: hunter2}]}", "f:1:41: cloud.accounts[0].password: must be scrypt$n$r$p$salt$hash"),
    *(
        (f"cloud: {{accounts: [{{email: e, password: 'scrypt${numbers}${salt}${digest}'}}]}}", f"f:1:41: cloud.accounts[0].password: {why}")
        for numbers, salt, digest, why in (
            ("1000$8$1", "aa" * 8, "bb" * 32, "scrypt's n must be a power of 2"),
            ("1$8$1", "aa" * 8, "bb" * 32, "scrypt's n must be a power of 2"),
            ("16384$8$0", "aa" * 8, "bb" * 32, "scrypt's n must be a power of 2, r and p at least 1"),
            ("2$1$1", "aa" * 8, "bb" * 32, "is too easy to guess"),
            ("536870912$8$1", "aa" * 8, "bb" * 32, "takes too much to check"),
            ("16384$8$1024", "aa" * 8, "bb" * 32, "takes too much to check"),
            ("16384$8$1", "aa", "bb" * 32, "must have a salt of 8 to 64 bytes"),
            ("16384$8$1", "aa" * 8, "bb", "must have a salt of 8 to 64 bytes, a hash of 16 to 64"),
        )
    ),
    ("cloud: {accounts: [{email: 'a b', password: x}]}", "f:1:28: cloud.accounts[0].email: must be an email address"),
    ("cloud: {accounts: [{email: a@b, password: x}, {email: A@B, password: x}]}", "f:1:55: cloud.accounts[1].email: the same account as cloud.accounts[0] in line 1"),
    ("cloud: {token_ttl: 0s}", "f:1:20: cloud.token_ttl: must be more than 0"),
]  # fmt: skip

WORKSPACE_TABLE = [
    ("ports: {}", "f:7:5: workspaces[0].ports: is here twice; line 5 has it"),
    ("slot: 1", "f:7:5: workspaces[0].slot: there is no such key here (did you mean 'slots'?)"),
    ("slots: 0", "f:7:12: workspaces[0].slots: must be 1 or more"),
    ("timeout: 0s", "f:7:14: workspaces[0].timeout: must be more than 0"),
    ("timeout: 30", "f:7:14: workspaces[0].timeout: needs a unit"),
    ("retry: always", "f:7:12: workspaces[0].retry: must be 'never', 'connect' or 'idempotent'"),
    ("gate: ain", "f:7:11: workspaces[0].gate: there is no gate 'ain' (did you mean 'ainn'?)"),
    ("apps: {x: y}", "f:7:15: workspaces[0].apps.x: there is no app 'y'"),
    ("path: http://h/x", "f:7:11: workspaces[0].path: must be a path on the worker"),
    ("path: a/%2E./b", "f:7:11: workspaces[0].path: must be a path on the worker"),
    ("health: {path: x}", "f:7:20: workspaces[0].health.path: must begin with '/'"),
    ("health: {interval: 0s}", "f:7:24: workspaces[0].health.interval: must be more than 0"),
    ("queue: {limit: -1}", "f:7:20: workspaces[0].queue.limit: must be 0 or more"),
    ("command: python x.py", "f:7:14: workspaces[0].command: must be a list of the program and its arguments"),


    ("keys: [abc]", "f:7:12: workspaces[0].keys[0]: must be the sha256 of an API key, 64 hex digits"),
    ("webhook_secret: abc", "f:7:21: workspaces[0].webhook_secret: must be whsec_ and the secret in base64, or empty"),
    ("webhook_secret: whsec_*", "f:7:21: workspaces[0].webhook_secret: must be whsec_ and the secret in base64"),
    ("env: {A: 5}", "f:7:14: workspaces[0].env.A: must be text, and YAML reads this as a number: put it in quotes"),
    ("env: {A=B: '5'}", "f:7:11: workspaces[0].env.'A=B': this is no name of an environment variable"),
    ("selection: {polcy: x}", "f:7:17: workspaces[0].selection.polcy: there is no such key here (did you mean 'policy'?)"),
]  # fmt: skip

PORTS_TABLE = [
    ("{}", "f:1:31: workspaces[0].ports: must have at least one port"),
    ("[8080]", "f:1:31: workspaces[0].ports: must map declared ports to container ports: {8080: 7860}"),
    ("'8080:7860'", "f:1:31: workspaces[0].ports: must map declared ports to container ports: {8080: 7860}"),
    ("8080:7860", "f:1:31: workspaces[0].ports: must map declared ports to container ports: {8080: 7860}"),
    ("8080:40", "f:1:31: workspaces[0].ports: YAML reads this as the number 484840, in base 60"),
    ("{0: 1}", "f:1:32: workspaces[0].ports.0: this key must be 1 or more"),
    ("{1: 65536}", "f:1:35: workspaces[0].ports.1: must be 65535 or less"),
    ("{1: '2'}", "f:1:35: workspaces[0].ports.1: must be a whole number, without quotes"),
    ("{http: 2}", "f:1:32: workspaces[0].ports.http: this key must be a whole number"),
    ("{8080: 1, '8080': 2}", "f:1:31: workspaces[0].ports: has port 8080 twice"),
    ("{8080: 1, 8080: 2}", "f:1:41: workspaces[0].ports.8080: is here twice; line 1 has it"),
]


@pytest.mark.parametrize(("text", "head"), TABLE, ids=[text for text, _ in TABLE])
def test_each_mistake_has_its_place_and_plain_words(text: str, head: str) -> None:
    found = heads(text)
    assert any(each.startswith(head) for each in found), found


@pytest.mark.parametrize(("line", "head"), WORKSPACE_TABLE, ids=[line for line, _ in WORKSPACE_TABLE])
def test_a_single_mistake_in_a_workspace_is_the_only_problem(line: str, head: str) -> None:
    found = heads(workspace(line))
    assert len(found) == 1, found
    assert found[0].startswith(head), found


@pytest.mark.parametrize(("ports", "head"), PORTS_TABLE, ids=[ports for ports, _ in PORTS_TABLE])
def test_the_ways_to_get_ports_wrong(ports: str, head: str) -> None:
    found = heads(f'workspaces: [{{id: "1", ports: {ports}, upstream: [x]}}]')
    assert any(each.startswith(head) for each in found), found


@pytest.mark.parametrize("entries", ["['tcp:abc']", "[8080]", "['tcp:65536', null]", "[010]"])
def test_a_list_with_wrong_entries_is_not_said_to_have_none(entries: str) -> None:
    found = heads(f"listen: {entries}")
    assert found and all(": listen[" in head for head in found), found


@pytest.mark.parametrize("image", ["{}", "{reference: a, archive: b}"])
def test_an_image_comes_from_one_place(image: str) -> None:
    text = (
        'nodes: [{address: a, host: h, engine: "unix:///run/docker.sock"}]\n'
        f'workspaces: [{{id: "1", ports: {{80: 80}}, image: {image}}}]'
    )
    assert heads(text) == ["f:2:48: workspaces[0].image: must have either reference: or archive:"]


def test_the_workspace_of_the_tables_is_right() -> None:
    """Else the tables above would say nothing."""
    assert heads(workspace()) == []


@pytest.mark.parametrize("text", [text for text, _ in TABLE])
def test_messages_have_no_jargon(text: str) -> None:
    """Operators are not to read pydantic's words, its URLs, or the names of our classes."""
    for head in heads(text):
        for word in ("pydantic", "Input", "https://", "dict", "tuple", "validat", "instance", "Settings"):
            assert word not in head


def test_everything_is_reported_at_once_in_the_order_of_the_file() -> None:
    """Duplicates, YAML traps, wrong values, unknown names between blocks and missing keys stand in one report."""
    text = """\
processes: 0
workspaces:
  - id: 04
    gate: nowhere
    slots: none
  - id: b
    ports: {1: 2}
    ports: {1: 2}
    timeout: 5
nodes:
  - hst: x
apps:
  a: {adapter: magic, workspace: c}
"""
    assert heads(text) == [
        "f:1:12: processes: must be 1 or more",
        "f:3:5: workspaces[0].ports: is missing",
        "f:3:5: workspaces[0]: has neither image: nor upstream: with replicas that run already",
        'f:3:9: workspaces[0].id: YAML reads this as the number 4, in octal: put it in quotes, "04"',
        "f:4:11: workspaces[0].gate: there is no gate 'nowhere'",
        "f:5:12: workspaces[0].slots: must be a whole number",
        "f:6:5: workspaces[1]: has neither image: nor upstream: with replicas that run already",
        "f:8:5: workspaces[1].ports: is here twice; line 7 has it",
        "f:9:14: workspaces[1].timeout: needs a unit (ms, s, m, h, d), such as 30s",
        "f:11:5: nodes[0].address: is missing",
        "f:11:5: nodes[0].host: is missing",
        "f:11:5: nodes[0].hst: there is no such key here (did you mean 'host'?)",
        "f:13:34: apps.a.workspace: there is no workspace 'c'; known here: 04, b",
    ]
