"""The text of a configuration, with a word to each line for whoever goes on with it."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator

from ngpu.cli.beginning.answers import Answers

PORT = 8080
"""The port that callers name, whatever a worker's own is."""

_HOST = re.compile(r"(?:[a-z][a-z0-9_]*\+)?(?:tcp|ssh)://(?:[^@/]*@)?([^/:]+)")


def text_of(answers: Answers, state: str = "var") -> str:
    """The whole file.

    :param state: the folder for what the gateway writes.
    """
    return "\n".join([*_head(answers, state), *_nodes(answers), *_workspace(answers), ""])


def _head(answers: Answers, state: str) -> Iterator[str]:
    yield "# Begun by `ngpu init`. config/ngpu.yaml explains every key with its default; `ngpu check` finds mistakes."
    yield "# Relative paths are taken from this file's folder."
    yield ""
    yield _line(f"listen: [{_quoted(answers.listen.endpoint)}]", "where customers call")
    yield _line("admin:", "yours alone: never on a public address")
    yield f"  listen: [{_quoted(answers.admin.endpoint)}]"
    yield _line(f"  token_file: {state}/admin.token", "made at the first start")
    if answers.store == "sqlite":
        yield _line(f"store: {{kind: sqlite, path: {state}/ngpu.sqlite}}", "tasks, for one gateway")
    else:
        yield _line(
            f"store: {{kind: redis, url: {_quoted(answers.store)}}}", "tasks, shared by all gateways that name it"
        )
    yield _line(f"spool: {state}/spool", "records of raw calls, for the moment until the store has them")
    yield ""


def _nodes(answers: Answers) -> Iterator[str]:
    yield "nodes:" + (" []" if not (answers.workers or answers.engines) else "")
    for host, address in _addresses(answers).items():
        yield _line(
            f"  - address: {_quoted(address)}",
            "how records name it: put in the machine's Ethereum address, if it has one",
        )
        yield f"    host: {_quoted(_host(host))}"
        if answers.engines:
            yield f"    engine: {_quoted(host)}"
        if answers.gpus:
            yield _line(f"    gpus: {{count: {answers.gpus}}}", 'such as {type: "RTX 3090", count: 2, memory: 24GiB}')
    yield ""


def _workspace(answers: Answers) -> Iterator[str]:
    addresses = _addresses(answers)
    yield "workspaces:"
    yield f'  - id: "{10**17 + secrets.randbelow(9 * 10**17)}"'
    yield f"    name: {_quoted(answers.name)}"
    hashed = hashlib.sha256(answers.key.encode()).hexdigest()
    yield _line(f'    keys: ["{hashed}"]', "the sha256 of its key")
    if answers.image:
        yield f"    image: {{reference: {_quoted(answers.image)}}}"
        yield f"    replicas: {answers.replicas}"
        yield _line(f"    gpus: {{count: {1 if answers.gpus else 0}}}", "of each replica")
        yield _line(
            f"    ports: {{{PORT}: {answers.port}}}", "what callers say in paramPort: the port in the container"
        )
    else:
        yield _line(f"    ports: {{{PORT}: {PORT}}}", "what callers say in paramPort")
        yield "    upstream:" + (" []" if not answers.workers else "")
        for worker in answers.workers:
            yield f"      - {{node: {_quoted(addresses[worker.host])}, ports: {{{PORT}: {worker.port}}}}}"
    yield _line(f"    health: {{path: {_quoted(answers.health)}}}", "answers 200 to 399 while a replica is well")
    yield _line("    slots: 1", "calls that a replica works on at once")


def _addresses(answers: Answers) -> dict[str, str]:
    """A node's address for each host of a worker, or for each engine; the same ones whenever it is asked again."""
    hosts = answers.engines or [worker.host for worker in answers.workers]
    return {
        host: f"0x{hashlib.sha256(f'{answers.seed} {host}'.encode()).hexdigest()[:40]}" for host in dict.fromkeys(hosts)
    }


def _host(where: str) -> str:
    """The host of a worker or an engine, as the gateway reaches it."""
    if "://" not in where:
        return where.strip("[]")
    found = _HOST.match(where)
    return found[1] if found else "127.0.0.1"


def _line(text: str, remark: str) -> str:
    return f"{text.ljust(58)}  # {remark}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
