"""docs/openapi-admin.yaml says what the admin API does: no call more, none less, and replies as they really are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openapi_spec_validator
import pytest
import requests
from asking_admin import Admin
from described import Described
from processes import ROOT, running

from ngpu.http.admin import API
from ngpu.http.admin_audit import AdminAudit
from ngpu.http.admin_events import AdminEvents
from ngpu.http.admin_fleet import AdminFleet
from ngpu.http.admin_live import AdminLive
from ngpu.http.admin_reload import AdminReload
from ngpu.http.admin_series import AdminSeries
from ngpu.http.admin_session import AdminSession
from ngpu.http.admin_tasks import AdminTasks
from ngpu.http.admin_workspaces import AdminWorkspaces
from ngpu.http.session import BY_ADDRESS
from ngpu.journal import Journal
from ngpu.settings import Workspace
from ngpu.sharing import Alone

ID, NODE = "367614711220405248", "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"


@pytest.fixture(scope="module")
def described() -> Described:
    return Described(ROOT / "docs/openapi-admin.yaml")


def block(id: str, **keys: Any) -> dict[str, Any]:
    return {"id": id, "ports": {"8080": 7860}, "upstream": [{"node": NODE, "ports": {"8080": 1}}], **keys}


def test_the_document_is_openapi(described: Described) -> None:
    openapi_spec_validator.validate(described.document)


def test_every_example_is_what_it_is_an_example_of(described: Described) -> None:
    for name, schema in described.document["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            described.validate_as(example, name)


def test_every_call_that_is_served_is_described_and_no_other(described: Described) -> None:
    nothing: Any = None
    parts = (
        AdminWorkspaces(nothing, {}, nothing),
        AdminFleet(nothing, nothing),
        AdminAudit(nothing),
        AdminTasks(nothing, nothing, {}, nothing),
        AdminEvents(nothing, nothing),
        AdminLive(nothing, Journal("", nothing, Alone.news), nothing, nothing),
        AdminSeries(nothing, nothing, nothing),
        AdminReload(nothing),
        AdminSession(nothing, nothing),
    )
    routes = [route for part in parts for route in part.routes]
    served = {(method, API + address.replace("<", "{").replace(">", "}")) for method, address, _ in routes}
    assert served == set(described.operations)


def test_every_key_of_a_workspace_is_described_and_no_other(described: Described) -> None:
    assert set(described.document["components"]["schemas"]["Settings"]["properties"]) == set(Workspace.model_fields)


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory, described: Described) -> Iterator[Admin]:
    configuration = {"nodes": [{"address": NODE, "host": "127.0.0.1"}], "workspaces": [block(ID)]}
    with running(tmp_path_factory.mktemp("admin")) as processes:
        yield Admin(processes.start_gateway(configuration), described)


ALL, ONE, SESSION = f"{API}/workspaces", f"{API}/workspaces/{{workspace}}", f"{API}/session"


def test_the_life_of_a_workspace(admin: Admin) -> None:
    assert admin.ask("POST", ALL, 201, json=block("w1"))["workspace"]["source"] == "api"
    assert [each["id"] for each in admin.ask("GET", ALL, 200)["workspaces"]] == [ID, "w1"]
    assert admin.ask("GET", ONE, 200, "w1")["workspace"]["settings"] == block("w1")
    assert admin.ask("PUT", ONE, 200, "w1", json=block("w1", name="n"))["workspace"]["name"] == "n"
    assert admin.ask("DELETE", ONE, 200, "w1")["msg"] == "removed"
    admin.ask("GET", ONE, 404, "w1")


def test_refusals(admin: Admin) -> None:
    assert admin.ask("POST", ALL, 400, json={})["problems"]
    assert "problems" not in admin.ask("POST", ALL, 400, data=b"x")
    assert admin.ask("PUT", ONE, 409, ID, json=block(ID))
    admin.ask("POST", ALL, 409, json=block(ID))
    admin.ask("DELETE", ONE, 409, ID)
    admin.ask("PUT", ONE, 404, "nobody", json={})
    admin.ask("POST", ALL, 413, data=b"x" * 200_000)


def test_without_the_token(admin: Admin) -> None:
    for (method, path), told in admin.described.operations.items():
        if path != SESSION:
            admin.ask(method, path, 401, ID, headers={"Authorization": "Bearer wrong"})
            assert "security" not in told


def test_a_session(admin: Admin) -> None:
    assert admin.ask("POST", SESSION, 200, json={"token": admin.token})["session"]["ends"] > 0
    assert admin.ask("GET", SESSION, 200)["session"] is None
    assert admin.ask("DELETE", SESSION, 200)["session"] is None
    admin.ask("POST", SESSION, 400, json={"token": 1})
    admin.ask("POST", SESSION, 403, json={"token": ""}, headers={"Origin": "http://elsewhere.test"})
    for _ in range(BY_ADDRESS.burst):
        admin.ask("POST", SESSION, 401, json={"token": "wrong"})
    admin.ask("POST", SESSION, 429, json={"token": admin.token})


def test_other_methods_are_answered_with_those_that_would_do(admin: Admin) -> None:
    for path in (ALL, ONE):
        told = {method for method, known in admin.described.operations if known == path}
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - told:
            reply = requests.request(method, admin.gateway.admin + path.replace("{workspace}", ID), timeout=10)
            assert reply.status_code == 405 and set(reply.headers["Allow"].split(", ")) == told | {"HEAD"}
