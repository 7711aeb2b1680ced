"""Whatever is sent to either listener, the documents describe what comes back, and bad input never gets a 500.

schemathesis makes requests out of the documents, right ones and wrong ones, and sends them to a real gateway. Documents
are shown to it without their ``default`` replies, so that each status that comes has to be there by its number; only
raw calls keep theirs, which is whatever the worker answers.

Not among its checks: that whatever the document allows is accepted, since much depends on the workspace (its ports, its
gate, where a URL leads).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from cloud_rig import account
from described import FILE, METHODS, objects
from processes import ROOT, Gateway, running

ID = "367614711220405248"
WITHIN = 240
"""Seconds that a run may take before it counts as hanging; `EXAMPLES` are so many that it takes about fifteen."""

EXAMPLES = 3
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    "use_after_free",
    "ensure_resource_availability",
)

# 502, 503 and 504 tell of workers and of the store; where they are not documented, status_code_conformance says so.
# 501 is right for methods that are not known (RFC 9110 §15.6.2), such as QUERY; the known ones get 405. Parameters and
# header fields that nobody knows are ignored, as everywhere in HTTP.
CONFIG = """
max-stream-events = 1
request-timeout = 60
[generation]
allow-extra-parameters = false
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 502, 503, 504]
[checks.negative_data_rejection]
expected-statuses = ["4xx", 502, 503, 504]
[phases.coverage]
unexpected-methods = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"]
"""


def fuzz(folder: Path, document: Mapping[str, Any], url: str, headers: Mapping[str, str]) -> None:
    """Let schemathesis loose on a listener.

    :raises AssertionError: with its report, when a check fails, or when nothing was sent.
    """
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "schemathesis.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file=schemathesis.toml", "run", "openapi.json"]
    command += [f"--url={url}", "--seed=1", f"--max-examples={EXAMPLES}", f"--checks={','.join(CHECKS)}"]
    command += ["--generation-database=none", "--no-color", "--warnings=off"]
    command += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=WITHIN, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-20_000:]
    calls = sum(method in item for item in document["paths"].values() for method in METHODS)
    assert f"Tested: {calls}" in done.stdout and "No issues found" in done.stdout, done.stdout


def strict(document: dict[str, Any], *, admin: bool) -> dict[str, Any]:
    """The calls of one listener, without their ``default`` replies but those of raw calls."""
    document = json.loads(json.dumps(document))  # where YAML has one mapping in several places, as many
    paths = {}
    for path, item in document["paths"].items():
        calls = {method: item[method] for method in METHODS if method in item}
        if all((call["tags"] == ["admin"]) is admin for call in calls.values()):
            paths[path] = item
            for call in calls.values():
                if call["tags"] != ["raw"]:
                    del call["responses"]["default"]
    for each in objects(document):
        if each.get("in") == "query" and "schema" in each and not each.get("required"):
            each["schema"] = {"anyOf": [each["schema"], {"const": ""}]}  # which counts as left out
    return {**document, "paths": paths, "webhooks": {}}


def inlined(node: Any, document: Mapping[str, Any]) -> Any:
    """A part of a document that can stand in another one."""
    if isinstance(node, list):
        return [inlined(each, document) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" not in node:
        return {name: inlined(value, document) for name, value in node.items()}
    found: Any = document
    for name in node["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return inlined(found, document)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("fuzzed")) as processes:
        worker = processes.start_worker("--slots", "4")
        config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
        del config["listen"], config["admin"], config["store"]
        config["workspaces"][0] |= {"slots": 4, "timeout": "2s"}
        config["workspaces"][0]["upstream"][0]["ports"] = {8080: worker.port}
        config["cloud"] = {"accounts": [account("a@b", "c").model_dump()]}
        yield processes.start_gateway(config)


@pytest.fixture(scope="module")
def public() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
    return document


def test_the_public_listener(gateway: Gateway, public: dict[str, Any], tmp_path: Path) -> None:
    login = {"email": "a@b", "password": "4a8a08f09d37b73795649038408b5f33"}
    reply = requests.post(gateway.url + "/ngpu/api/v1/user/login", json=login, timeout=30)
    headers = {"Authorization": f"Bearer {ID}", "Token": reply.json()["result"]["token"]}
    fuzz(tmp_path, strict(public, admin=False), gateway.url, headers)


def test_the_admin_listener(gateway: Gateway, public: dict[str, Any], tmp_path: Path) -> None:
    document = strict(yaml.safe_load((ROOT / "docs/openapi-admin.yaml").read_text("utf-8")), admin=False)
    del document["paths"]["/api/v1/reload"]  # it ends connections: tests/api/test_api_reload.py
    for path, item in strict(public, admin=True)["paths"].items():
        document["paths"][path] = inlined(item, public)
        for call in document["paths"][path].values():
            if isinstance(call, dict):
                call["security"] = [{"token": []} for each in call["security"] if each]
    token = (gateway.config_file.parent / "var/admin.token").read_text().strip()
    fuzz(tmp_path, document, gateway.admin, {"Authorization": f"Bearer {token}"})


def test_the_gateway_had_no_trouble(gateway: Gateway) -> None:
    assert "Traceback" not in gateway.log.read_text("utf-8", "replace"), gateway.tail()
