"""Dashboard, alerts and troubleshooting: what they name is there, and what they say can be asked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import requests
import yaml
from described import Described
from processes import ROOT, running
from redis_server import block

from ngpu.cli import main
from ngpu.journal import KINDS

FOLDER = ROOT / "docs/observability"
PAGE = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
NODE = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
VARIABLES = {"$workspace": ".*", "$instance": ".*", "$__rate_interval": "5m"}
BEFORE_SAMPLES = {"up"}
"""What Prometheus itself makes."""

RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())


def queries() -> Iterator[tuple[str, str]]:
    """All of PromQL, each with where it stands."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((\w+), \w+\)", variable["definition"])
            assert found is not None
            yield variable["name"], found[1]


def metrics_of(query: str) -> set[str]:
    bare = re.sub(r'"[^"]*"', "", query)
    return set(re.findall(r"\b(?:ngpu|process)_[a-z_]+|\bup\b", bare))


def exposition(admin: str, token: str) -> str:
    return requests.get(admin + "/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=30).text


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], str]:
    """The names of all samples that a gateway of two processes may show, and its exposition."""
    workspace = {"id": "w", "ports": {"8080": 7860}, "upstream": [{"node": NODE, "ports": {"8080": 1}}]}
    gate = {"checker": "static", "options": {"balances": {}}, "tickers": ["AINN"]}
    configuration = {
        "nodes": [{"address": NODE, "host": "127.0.0.1"}],
        "workspaces": [workspace],
        "gates": {"g": gate},
        "store": block(),
        "processes": 2,
    }
    with running(tmp_path_factory.mktemp("exposed")) as processes:
        gateway = processes.start_gateway(configuration)
        token = (gateway.config_file.parent / "var/admin.token").read_text().strip()
        deadline = time.monotonic() + 30
        while "ngpu_workers 2.0" not in (text := exposition(gateway.admin, token)):
            assert time.monotonic() < deadline, text
            time.sleep(0.05)
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""], "untyped": [""]}
    names: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        names.update(name.removesuffix("_total") + suffix for suffix in suffixes[kind])
    return names, text


def test_every_metric_that_is_named_is_exposed(exposed: tuple[set[str], str]) -> None:
    names, _ = exposed
    for where, query in queries():
        assert metrics_of(query), where
        unknown = metrics_of(query) - names - BEFORE_SAMPLES
        assert not unknown, f"{where}: {unknown}"


def test_what_is_measured_has_values(exposed: tuple[set[str], str]) -> None:
    _, text = exposed
    for sample in (
        r'ngpu_store_up\{process="\d"\} 1.0',
        r'ngpu_leads\{process="\d"\} 1.0',
        r'ngpu_connections\{listener="admin",process="\d"\} [1-9]',
        r'ngpu_connections_limit\{listener="public",process="\d"\} 10000.0',
        r'ngpu_events_total\{kind="gateway_joined",process="\d",severity="info"\} 1.0',
        r'ngpu_events_total\{kind="gateway_lost",process="\d",severity="error"\} 0.0',
        r'ngpu_tasks_ended_total\{process="\d",status="expired",workspace="[\w-]+"\} 0.0',
        r'ngpu_slots\{process="\d",workspace="[\w-]+"\} 0.0',
        r'ngpu_info\{process="\d",version="[\d.]+"\} 1.0',
    ):
        assert re.search(sample, text), sample


def test_every_metric_of_ours_stands_in_the_operators_page_or_the_dashboard(exposed: tuple[set[str], str]) -> None:
    names, _ = exposed
    told = (ROOT / "docs/observing.md").read_text("utf-8") + json.dumps(DASHBOARD) + (FOLDER / "alerts.yml").read_text()
    ours = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in names if name.startswith("ngpu_")}
    assert not [name for name in sorted(ours) if name not in told]


def test_every_alert_has_its_section_and_no_other() -> None:
    alerts = [rule["alert"] for rule in RULES]
    assert re.findall(r"^## (Ngpu\w+)$", PAGE, re.MULTILINE) == alerts
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:-1]:
        for part in ("**Means**", "**Look**", "**Do**"):
            assert part in section, section[:40]
    for named in re.findall(r"Ngpu[A-Z]\w+", PAGE):
        assert named in alerts, named


def test_every_message_is_said_somewhere() -> None:
    said = "".join(file.read_text("utf-8") for file in (ROOT / "ngpu").rglob("*.py"))
    said = re.sub(r'"\s*\n\s*f?"', "", said)
    messages = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)))
    assert len(messages) > 8
    for message in messages:
        assert message.partition("…")[0].strip() in said, message


def test_every_command_of_ours_is_one() -> None:
    told: list[str] = re.findall(r"(?:`|^|\| )ngpu ([a-z][^`\n#|]*)", PAGE, re.MULTILINE)
    assert len(told) > 15
    context = click.Context(main, **main.context_settings)
    for words in (line.split() for line in told):
        command = main.get_command(context, words[0])
        assert command is not None, f"ngpu {words[0]}"
        if isinstance(command, click.Group) and len(words) > 1 and words[1].islower() and words[1].isalpha():
            command = command.get_command(context, words[1])
            assert command is not None, f"ngpu {words}"
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, f"ngpu {words}"


def test_every_kind_of_event_is_one() -> None:
    named = re.findall(r"--kind (\w+)", PAGE) + re.findall(r'kind="(\w+)"', (FOLDER / "alerts.yml").read_text())
    assert named and set(named) <= KINDS.keys()


def test_every_address_of_the_admin_api_is_one() -> None:
    admin, public = Described(ROOT / "docs/openapi-admin.yaml"), Described(ROOT / "docs/openapi.yaml")
    asked = re.findall(r'curl -s (?:-X (\w+) )?"\$ADMIN(/[\w/]+)(?:\?([^"]*))?"', PAGE)
    assert asked
    for method, path, query in asked:
        described = "/api/v1" + re.sub(r"/TASK\b", "/{task}", path)
        operation = admin.operations[method or "GET", described]
        known = {admin._resolved(each)["name"] for each in operation.get("parameters", ())}
        assert {each.partition("=")[0] for each in query.split("&") if each} <= known, path
    for path in set(re.findall(r"8081(/\w+)", PAGE)):
        assert path in {"/api"} | {known for _, known in public.operations}


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("there is no promtool here: apt-get install prometheus")
    return found


def run(*command: str, folder: Path = FOLDER) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules_and_they_fire(promtool: str) -> None:
    assert f"{len(RULES)} rules found" in run(promtool, "check", "rules", "alerts.yml")
    run(promtool, "test", "rules", "alerts_test.yml")


def test_prometheus_takes_its_configuration(promtool: str, tmp_path: Path) -> None:
    for name in ("prometheus.yml", "alerts.yml"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "admin.token").write_text("x")
    run(promtool, "check", "config", "prometheus.yml", folder=tmp_path)


def test_the_queries_of_the_dashboard_are_promql(promtool: str, tmp_path: Path) -> None:
    rules = []
    for number, (_, query) in enumerate(queries()):
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)
        assert "$" not in query
        rules.append({"record": f"q{number}", "expr": query})
    (tmp_path / "all.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    run(promtool, "check", "rules", "all.yml", folder=tmp_path)


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
