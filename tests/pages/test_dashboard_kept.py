"""What operators have begun stays theirs: in the dashboard, on a gateway in front of one worker that runs already."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
from browser import WITHIN, Visitor, chromium
from playwright.sync_api import Browser, Page, Route, expect
from processes import Gateway, running

FIRST = "first"
NODE = "0xA1"
ZONE = "Asia/Shanghai"
LONG_AGO = 1_700_000_000
QUIET = 41_000
"""Milliseconds after which a page takes a stream that says nothing for dead."""

Visit = Callable[..., Visitor]
HIDES = "Object.defineProperty(document, 'hidden', {get: () => window.away ?? AWAY, configurable: true});"
MOVES = "(away) => { window.away = away; document.dispatchEvent(new Event('visibilitychange')); }"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("kept")) as processes:
        upstream = [{"node": NODE, "ports": {"8080": processes.start_worker().port}}]
        workspace = {"id": FIRST, "ports": {"8080": 80}, "upstream": upstream, "health": {"path": "/"}}
        config = {"nodes": [{"address": NODE, "host": "127.0.0.1"}], "workspaces": [workspace], "timezone": "UTC"}
        yield processes.start_gateway(config)


@pytest.fixture(scope="module")
def token(gateway: Gateway) -> str:
    return (gateway.config_file.parent / "var/admin.token").read_text().strip()


@pytest.fixture(scope="module")
def ask(gateway: Gateway, token: str) -> Callable[..., requests.Response]:
    """Makes calls of the admin API."""

    def call(method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(method, f"{gateway.admin}/api/v1{path}", headers=headers, timeout=WITHIN, **more)

    return call


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def visit(gateway: Gateway, browser: Browser, token: str) -> Iterator[Visit]:
    """Makes visitors, who are logged in; no page of theirs may have complained in the end."""
    visitors: list[Visitor] = []

    def make(view: str, script: str = "", **wishes: Any) -> Visitor:
        visitor = Visitor(browser, **wishes)
        visitors.append(visitor)
        reply = visitor.context.request.post(
            f"{gateway.admin}/api/v1/session", data={"token": token}, headers={"Origin": gateway.admin}
        )
        assert reply.ok, reply.text()
        if script:
            visitor.page.add_init_script(script)
        visitor.page.goto(f"{gateway.admin}/#/{view}")
        expect(visitor.page.locator("nav")).to_be_visible()
        return visitor

    yield make
    for visitor in visitors:
        visitor.leave()


def made(ask: Callable[..., requests.Response], *ids: str) -> None:
    for each in ids:
        block = {"id": each, "ports": {"8080": 80}, "upstream": [{"node": NODE, "ports": {"8080": 9}}]}
        assert ask("POST", "/workspaces", json=block).status_code == 201


def submit(gateway: Gateway) -> str:
    """A task that fails: the worker wants a picture."""
    reply = requests.post(
        f"{gateway.url}/user/schedulingTask",
        params={"paramUrl": "sdapi/v1/img2img", "taskMode": "Async"},
        json={"data": {"prompt": "none"}},
        headers={"Authorization": f"Bearer {FIRST}"},
        timeout=WITHIN,
    )
    assert reply.ok, reply.text
    return str(reply.json()["taskID"])


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Admin token").fill(token)
    page.keyboard.press("Enter")


def test_another_language_leaves_what_is_typed_and_the_focus(visit: Visit) -> None:
    page = visit("workspaces/new").page
    page.locator("#new-name").fill("mine")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("新建工作区")
    expect(page).to_have_title(re.compile("新建工作区"))
    expect(page.locator("#new-name")).to_have_value("mine")
    expect(page.get_by_role("button", name="English")).to_be_focused()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")


def test_a_form_outlives_a_session_and_a_look_elsewhere_but_no_logout(
    visit: Visit, gateway: Gateway, token: str
) -> None:
    visitor = visit("workspaces/new")
    page, name = visitor.page, visitor.page.locator("#new-name")
    name.fill("mine")
    page.get_by_role("link", name="Events").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Events")
    page.go_back()
    expect(name).to_have_value("mine")
    visitor.forgive("401")
    assert visitor.context.request.delete(f"{gateway.admin}/api/v1/session", headers={"Origin": gateway.admin}).ok
    page.get_by_role("button", name="Create workspace").click()
    log_in(page, token)
    expect(name).to_have_value("mine")
    page.get_by_role("button", name="Log out").click()
    log_in(page, token)
    expect(name).to_have_value("")
    name.fill("other")
    page.get_by_role("link", name="Back without creating").click()
    page.get_by_role("link", name="New workspace").click()
    expect(name).to_have_value("")


def test_a_refusal_of_no_field_is_seen_where_one_is(visit: Visit) -> None:
    visitor = visit("workspaces/new")
    page = visitor.page
    page.get_by_label("Command").fill("""echo 'it'"'"'s'""")
    page.get_by_role("button", name="Create workspace").click()
    expect(page.get_by_label("Command")).to_have_accessible_description(re.compile("Quotes have to stand"))
    page.get_by_label("Command").fill("")
    page.get_by_label("replicas that run already").check()
    page.get_by_label("Id", exact=True).fill("ports")
    page.get_by_label("Replicas", exact=True).fill(f"{NODE} 80 90")
    page.get_by_role("button", name="Create workspace").click()
    expect(page.get_by_label("Container port")).to_have_accessible_description(re.compile("must be a whole number"))
    expect(page.get_by_label("Declared port")).not_to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Replicas", exact=True)).to_be_focused()
    expect(page.get_by_label("Replicas", exact=True)).to_have_accessible_description(
        re.compile("must be a whole number")
    )
    visitor.forgive("400")
    refused = {"status": 503, "json": {"result_code": 503, "msg": "the store is away"}}
    page.route("**/api/v1/workspaces", lambda route: route.fulfill(**refused))
    page.get_by_role("button", name="Create workspace").click()
    visitor.forgive("503")
    failure = page.get_by_text("the store is away")
    expect(failure).to_be_in_viewport()
    expect(page.locator(".failure")).to_be_focused()


def test_a_tab_that_nobody_sees_asks_for_nothing_and_then_at_once(visit: Visit) -> None:
    """Browsers have six connections to a gateway: seven tabs with a stream each would be seven that show nothing."""
    visitor = visit("tasks", HIDES.replace("AWAY", "true"))
    page = visitor.page
    expect(page.get_by_text("Loading …")).to_be_visible()
    with page.expect_request(re.compile("/api/v1/live")):
        page.evaluate(MOVES, False)
    expect(page.get_by_text("Loading …")).to_have_count(0)
    page.get_by_role("link", name="Workspaces").click()
    expect(page.get_by_role("table").get_by_role("link", name=FIRST)).to_be_visible()
    with page.expect_event("requestfailed", lambda request: "/api/v1/live" in request.url):
        page.evaluate(MOVES, True)
    with page.expect_request(re.compile("/api/v1/live")):
        page.evaluate(MOVES, False)


def test_a_gateway_that_hangs_is_said_to_be_away(visit: Visit, gateway: Gateway) -> None:
    visitor = visit("workspaces")
    page = visitor.page
    page.clock.install()
    page.reload()
    expect(page.get_by_role("table")).to_be_visible()
    page.clock.fast_forward(QUIET // 2)
    lost = page.get_by_role("status").filter(has_text="The connection to the gateway is lost")
    gateway.signal(signal.SIGSTOP)
    try:
        page.clock.fast_forward(QUIET)
        expect(lost).to_be_visible()
    finally:
        gateway.signal(signal.SIGCONT)
    page.clock.fast_forward(QUIET)
    expect(lost).to_be_hidden()


def test_a_workspace_that_is_gone_is_not_shown_any_more(visit: Visit, ask: Callable[..., requests.Response]) -> None:
    made(ask, "goes")
    visitor = visit("workspaces/goes")
    page = visitor.page
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.evaluate("() => { location.hash = '#/workspaces'; }")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.go_back()
    expect(page.get_by_role("button", name="Remove")).to_be_visible()
    assert ask("DELETE", "/workspaces/goes").ok
    visitor.forgive("404")
    expect(page.get_by_role("alert").filter(has_text="there is no workspace of this id").first).to_be_visible()
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)


def test_a_choice_stays_what_it_is_while_workspaces_come_and_go(
    visit: Visit, ask: Callable[..., requests.Response]
) -> None:
    made(ask, "one", "two", "three")
    page = visit("tasks").page
    chosen = page.get_by_label("Workspace", exact=True)
    chosen.select_option("three")
    assert ask("DELETE", "/workspaces/one").ok
    expect(chosen.locator("option", has_text="one")).to_have_count(0)
    expect(chosen).to_have_value("three")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile("workspace=three"))
    page.get_by_role("link", name="Clear").click()
    expect(chosen).to_have_value("")
    page.go_back()
    expect(chosen).to_have_value("three")
    page.reload()
    expect(chosen).to_have_value("three")


def test_times_are_meant_as_they_are_shown(
    visit: Visit, gateway: Gateway, ask: Callable[..., requests.Response]
) -> None:
    task = submit(gateway)
    submitted = ask("GET", f"/tasks/{task}").json()["task"]["submitted_at"]
    for zone in ("UTC", ZONE):
        start = datetime.fromisoformat(submitted).astimezone(ZoneInfo(zone))
        for later, there in ((timedelta(), True), (timedelta(seconds=0.1), False)):
            found = ask("GET", "/tasks", params={"start": (start + later).isoformat()}).json()["tasks"]
            assert (task in [each["id"] for each in found]) is there
    page = visit("tasks", timezone_id=ZONE).page
    shown = page.get_by_role("table").get_by_role("link", name=task)
    expect(shown).to_be_visible()
    here = datetime.now(ZoneInfo(ZONE))
    for start, end, there in ((-1, 1, True), (-2, -1, False), (1, 2, False)):
        for label, minutes in (("Submitted since", start), ("Submitted until", end)):
            page.get_by_label(label).fill(f"{here + timedelta(minutes=minutes):%Y-%m-%d %H:%M:%S}")
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_text("No task was found")).to_have_count(0 if there else 1)
        expect(shown).to_have_count(1 if there else 0)
    for label in ("Submitted since", "Submitted until"):
        page.get_by_label(label).fill(f"{here:%Y-%m-%d}")
    page.get_by_role("button", name="Search").click()
    expect(shown).to_be_visible()


def test_a_button_that_is_pressed_twice_does_it_once(visit: Visit, gateway: Gateway) -> None:
    page = visit(f"tasks/{submit(gateway)}").page
    asked: list[Route] = []
    page.route("**/retry", lambda route: asked.append(route))
    page.get_by_role("button", name="Try again").dblclick()
    expect(page.locator("main .state").first).to_contain_text("failed")
    asked[0].continue_()
    expect(page.locator("dl.facts", has_text="Retries")).to_contain_text("Retries1")
    assert len(asked) == 1


def test_a_view_begins_at_its_top_and_is_gone_back_to_where_it_was(visit: Visit) -> None:
    event = {"time": LONG_AGO, "severity": "info", "kind": "replica_up", "message": "up", "workspace": "", "node": ""}
    told = {"events": [{**event, "task": "", "count": 3, "id": number} for number in range(100)], "last": 99}
    visitor = visit("nothing")
    page = visitor.page
    page.route("**/api/v1/events?*", lambda route: route.fulfill(body=json.dumps(told)))
    page.goto(page.url.replace("nothing", "workspaces/new"))
    page.reload()
    page.get_by_role("button", name="Create workspace").scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    assert before > 100
    page.get_by_role("link", name="Events").click()
    expect(page.locator(".event").nth(99)).to_be_attached()
    expect(page.locator(".event").last).to_contain_text("up (3 times)")
    assert page.evaluate("scrollY") == 0
    page.go_back()
    expect(page.get_by_role("button", name="Create workspace")).to_be_visible()
    assert page.evaluate("scrollY") == before
