"""Whatever is sent to either listener, the documents describe what comes back, and bad input never gets a 500.

schemathesis makes requests out of the documents, right ones and wrong ones, and sends them to a real gateway. Documents
are shown to it without their ``default`` replies, so that each status that comes has to be there by its number.
"""

from __future__ import annotations

import copy
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
from described import FILE, METHODS
from processes import ROOT, Gateway, running

ID = "367614711220405248"
NODE = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
WITHIN = 200
"""Seconds that a run may take; the numbers of examples are so that it takes about twenty on an idle machine."""

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
)


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


CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 408, 409, 413, 414, 417, 422, 429, 431, 501, 503, 505]
[phases.coverage]
unexpected-methods = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"]
"""

def fuzz(folder: Path, document: Mapping[str, Any], url: str, examples: int, *options: str, config: str = CONFIG) -> str:
    (folder / "openapi.json").write_text(json.dumps(document, default=str))
    (folder / "schemathesis.toml").write_text(config)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", "openapi.json"]
    command += [f"--url={url}", "--seed=1", f"--max-examples={examples}", f"--checks={','.join(CHECKS)}"]
    command += ["--generation-database=none", "--no-color", "--warnings=off", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=WITHIN, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-20000:]
    return done.stdout


def strict(document: dict[str, Any], tags: set[str]) -> dict[str, Any]:
    """The calls with one of these tags, without their ``default`` replies."""
    document = copy.deepcopy(document)
    for path, item in list(document["paths"].items()):
        for method in METHODS:
            if method in item:
                if set(item[method]["tags"]) <= tags:
                    item[method]["responses"].pop("default", None)
                else:
                    del item[method]
        if not any(method in item for method in METHODS):
            del document["paths"][path]
    document.pop("webhooks", None)
    return document


def test_partner(gateway, tmp_path):
    document = strict(yaml.safe_load(FILE.read_text()), {"submitting", "reading"})
    print(fuzz(tmp_path, document, gateway.url, 20, "-H", f"Authorization: Bearer {ID}"))

def test_raw(gateway, tmp_path):
    document = yaml.safe_load(FILE.read_text())
    document = strict(document, {"raw"})
    print(fuzz(tmp_path, document, gateway.url, 20, "-H", f"Authorization: Bearer {ID}"))

def test_cloud(gateway, tmp_path):
    document = strict(yaml.safe_load(FILE.read_text()), {"cloud"})
    sent = {"email": "a@b", "password": "4a8a08f09d37b73795649038408b5f33"}
    token = requests.post(gateway.url + "/ngpu/api/v1/user/login", json=sent, timeout=9).json()["result"]["token"]
    print(fuzz(tmp_path, document, gateway.url, 20, "-H", f"Token: {token}"))

def test_admin_small(gateway, tmp_path):
    document = strict(yaml.safe_load(FILE.read_text()), {"admin"})
    token = (gateway.config_file.parent / "var/admin.token").read_text().strip()
    print(fuzz(tmp_path, document, gateway.admin, 20, "-H", f"Authorization: Bearer {token}"))

def test_admin(gateway, tmp_path):
    document = yaml.safe_load((ROOT / "docs/openapi-admin.yaml").read_text())
    document = strict(document, {"workspaces", "store", "fleet", "tasks"})
    token = (gateway.config_file.parent / "var/admin.token").read_text().strip()
    print(fuzz(tmp_path, document, gateway.admin, 20, "-H", f"Authorization: Bearer {token}"))
