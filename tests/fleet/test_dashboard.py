"""The dashboard as operators use it: in a browser, on a real gateway whose nodes are real engines."""

from __future__ import annotations

import itertools
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from browser import WITHIN, Visitor, chromium
from docker_bed import Bed
from fleet_rig import NODES, WORKSPACE, FleetRig, eventually, fleet_rig
from leaks import FAILED
from PIL import Image
from playwright.sync_api import Browser, expect

Push = Callable[..., str]
Visit = Callable[..., Visitor]

BUSY = 300.0
"""Seconds of calls before the picture of charts."""

PICTURES = os.environ.get("NGPU_PICTURES", "")
"""A folder that pictures for the docs are put into (make pictures)."""

MADE = "app-made-here"
expect.set_options(timeout=2 * WITHIN * 1000)  # engines and a gateway share the machine with other tests


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def rig(bed: Bed, image: Push, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetRig]:
    with fleet_rig(bed, tmp_path_factory.mktemp("dashboard"), 3, fleet="board") as made:
        made.gpu = "RTX 3090"
        made.want(image(), replicas=2, name="sd-webui", slots=1)
        made.start()
        made.serving(2)
        yield made


@pytest.fixture(autouse=True)
def shown_log(rig: FleetRig, request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if request.node.stash.get(FAILED, False):
        print(rig.gateway.tail())


@pytest.fixture
def visit(rig: FleetRig, browser: Browser) -> Iterator[Visit]:
    """Makes visitors, who are logged in; no page of theirs may have complained in the end."""
    visitors: list[Visitor] = []

    def make(view: str = "fleet", log_in: bool = True, **wishes: Any) -> Visitor:
        visitor = Visitor(browser, **wishes)
        visitors.append(visitor)
        visitor.page.goto(f"{rig.gateway.admin}/#/{view}")
        if log_in:
            visitor.page.locator("#token").fill(token_of(rig))
            visitor.page.locator("#token").press("Enter")
            expect(visitor.page.locator("nav")).to_be_visible()
        return visitor

    yield make
    for visitor in visitors:
        visitor.leave()


def token_of(rig: FleetRig) -> str:
    return (rig.gateway.config_file.parent / "var/admin.token").read_text().strip()


def picture(visitor: Visitor, name: str) -> None:
    """For the docs: without the ring around what has the focus, and small."""
    if PICTURES:
        visitor.page.evaluate("document.activeElement?.blur()")
        file = Path(PICTURES, f"{name}.png")
        visitor.picture(file)
        with Image.open(file) as taken:
            taken.convert("RGB").quantize(128).save(file, optimize=True)


def be_busy(rig: FleetRig) -> None:
    """Give charts something to show, where somebody takes pictures of them."""
    rng = random.Random(1)
    until = time.monotonic() + (BUSY if PICTURES else 0)
    while time.monotonic() < until:
        for _ in range(rng.choice((0, 0, 1, 2, 6))):
            submit(rig)
        rig.call("quick")
        time.sleep(1 + rng.random())


def submit(rig: FleetRig, path: str = "cgi-bin/slow") -> str:
    params = {"paramUrl": path, "taskMode": "Async"}
    reply = requests.post(
        f"{rig.gateway.url}/user/schedulingTask",
        params=params,
        json={"data": "x"},
        headers={"Authorization": WORKSPACE},
        timeout=10,
    )
    assert reply.status_code == 200, reply.text
    task_id: str = reply.json()["taskID"]
    return task_id


def test_a_wrong_token_is_told_at_its_field_and_the_right_one_logs_in(rig: FleetRig, visit: Visit) -> None:
    visitor = visit(log_in=False)
    page = visitor.page
    field = page.get_by_label("Admin token")
    expect(field).to_be_focused()
    field.fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="not the admin token")).to_be_visible()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    visitor.forgive("401")
    field.fill(token_of(rig))
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Fleet")
    seen = page.evaluate("[document.cookie, JSON.stringify({...localStorage}), JSON.stringify({...sessionStorage})]")
    assert seen == ["", "{}", "{}"]
    (cookie,) = visitor.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and cookie["path"] == "/api/v1"
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Fleet")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Admin token")).to_be_visible()
    assert visitor.context.cookies() == []
    page.reload()
    expect(page.get_by_label("Admin token")).to_be_visible()


def test_a_workspace_is_made_in_the_form_and_its_deployment_watched(rig: FleetRig, visit: Visit, image: Push) -> None:
    reference = image("large:2", 48 << 20)
    visitor = visit("workspaces")
    page = visitor.page
    page.get_by_role("link", name="New workspace").click()
    page.get_by_label("Id", exact=True).fill("not an id")
    page.get_by_label("Image", exact=True).fill("Not An Image")
    page.get_by_label("Container port").fill("8080")
    page.get_by_role("button", name="Create workspace").click()
    wrong = page.get_by_label("Id", exact=True)
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_be_focused()
    expect(wrong).to_have_accessible_description(re.compile("must be 1 to 64 letters"))
    expect(page.get_by_label("Image", exact=True)).to_have_accessible_description(re.compile("must be an image's name"))
    visitor.forgive("400")
    picture(visitor, "form")
    wrong.press_sequentially("x", delay=50)
    page.wait_for_timeout(200)  # what follows a key follows within a frame or two
    expect(wrong).to_be_focused()
    wrong.fill(MADE)
    page.get_by_label("Name").fill("img2img")
    page.get_by_label("Image", exact=True).fill(reference)
    page.get_by_label("Command").fill("/bin/busybox httpd -f -p 8080 -h '/www'")
    page.get_by_label("GPUs").fill("0")
    page.get_by_label("More settings").fill('{"health": {"interval": "200ms"}, "container": {"stop_grace": "1s"}}')
    with rig.bed.registry.slowed():
        page.get_by_role("button", name="Create workspace").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("img2img")
        expect(page.get_by_role("status").filter(has_text="was created")).to_be_visible()
        page.get_by_role("link", name="Fleet").click()
        seen_to_be_deployed(visitor)
    assert rig.serving(2, MADE)["settings"]["command"][-1] == "/www"


def seen_to_be_deployed(visitor: Visitor) -> None:
    page = visitor.page
    seen: set[int] = set()

    def deployed() -> bool:
        shown = page.locator("section[aria-labelledby=moving] progress")
        values = shown.evaluate_all("bars => bars.map((bar) => bar.value)")
        if any(0 < value < 100 for value in values) and not seen:
            picture(visitor, "deploying")
        seen.update(int(value) for value in values)
        return page.locator(".replica", has_text="img2img").filter(has_text="serving").count() == 2

    eventually(deployed, "two replicas are shown to serve", 40)
    assert any(0 < value < 100 for value in seen), f"no progress was shown: {seen}"


def test_a_task_is_found_and_cancelled_and_tried_again(rig: FleetRig, visit: Visit) -> None:
    tasks = [submit(rig) for _ in range(80)]  # of a second each, two at a time
    visitor = visit("tasks")
    page = visitor.page
    page.get_by_label("Task id").fill(tasks[-1])
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(tasks[-1])
    state = page.locator("main .state").first
    expect(state).to_contain_text("queued")
    expect(page.locator("main")).to_contain_text("Place in the queue")
    # what changes with each look is not read out with each look
    expect(page.get_by_role("status").filter(has_text="Place in the queue")).to_have_count(0)
    page.get_by_role("button", name="Cancel task").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("button", name="Cancel task")).to_be_focused()
    page.get_by_role("button", name="Cancel task").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel task").click()
    expect(state).to_contain_text("cancelled")
    expect(page.locator(".notices").get_by_role("status")).to_contain_text("The task was cancelled.")
    purged = requests.post(f"{rig.gateway.url}/user/purgeQueue", headers={"Authorization": WORKSPACE}, timeout=10)
    assert purged.json()["result_size"] > 0, "it was cancelled while it waited"
    page.get_by_role("button", name="Try again").click()
    expect(state).to_contain_text("finished")
    expect(page.locator("dl.facts", has_text="Retries")).to_contain_text("Retries1")
    picture(visitor, "task")
    page.get_by_role("link", name="Tasks", exact=True).click()
    page.get_by_label("Status").select_option("finished")
    page.get_by_label("Submitted since").fill("15m")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("table").get_by_role("link", name=tasks[-1])).to_be_visible()
    page.get_by_label("Submitted since").fill("yesterday")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_label("Submitted since")).to_have_accessible_description(re.compile("start must be"))
    visitor.forgive("400")
    page.get_by_label("Task id").fill("nothing")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="no such task")).to_be_visible()
    visitor.forgive("404")


def test_what_is_typed_stays_while_the_fleet_moves(rig: FleetRig, visit: Visit) -> None:
    visitor = visit("tasks")
    page = visitor.page
    typed = {"Task id": "18", "Submitted since": "1", "Node": "0x", "Bitcoin address": "bc1"}
    for label, text in typed.items():
        page.get_by_label(label, exact=True).press_sequentially(text)
    for _ in range(3):
        submit(rig, "cgi-bin/slow")
        page.wait_for_timeout(1200)  # the stream tells of nodes and workspaces each second
    for label, text in typed.items():
        expect(page.get_by_label(label, exact=True)).to_have_value(text)
        expect(page.get_by_label(label, exact=True)).to_have_attribute("spellcheck", "false")
    page.get_by_label("Node", exact=True).fill(NODES[0])
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile("node=0x"))
    visitor.forgive("400")
    page.go_back()
    for label in ("Submitted since", "Node", "Bitcoin address"):
        expect(page.get_by_label(label, exact=True)).to_have_value("")
    page.go_forward()
    expect(page.get_by_label("Node", exact=True)).to_have_value(NODES[0])


def test_a_node_is_drained_with_nothing_but_a_keyboard(rig: FleetRig, visit: Visit) -> None:
    busy = next(index for index, names in rig.by_node().items() if names)
    address = NODES[busy]
    visitor = visit()
    page = visitor.page
    card = page.get_by_role("article", name=address)
    expect(card.locator(".replica").first).to_be_visible()
    drain = card.get_by_role("button", name=f"Drain {address}")
    for _ in range(60):
        page.keyboard.press("Tab")
        if drain.evaluate("(each) => each === document.activeElement"):
            break
    expect(drain).to_be_focused()
    assert drain.evaluate("(each) => getComputedStyle(each).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_have_accessible_description(re.compile("move to other nodes"))
    expect(dialog.get_by_role("button", name="No, leave it")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(card.locator("h3")).to_contain_text("draining")
    expect(card).to_contain_text("No replicas", timeout=30000)
    assert not rig.containers(busy)
    undrain = card.get_by_role("button", name=f"Undrain {address}")
    expect(undrain).to_be_focused()
    page.keyboard.press("Enter")
    expect(card.locator("h3")).not_to_contain_text("draining")


def test_what_a_replica_prints_is_shown(rig: FleetRig, visit: Visit) -> None:
    task = f"/tasks/{submit(rig, 'cgi-bin/job')}"
    eventually(lambda: rig.admin("GET", task).json()["task"]["status"] == "finished", "a replica has printed something")
    visitor = visit(f"workspaces/{WORKSPACE}")
    page = visitor.page
    logs = page.get_by_role("button", name=re.compile("^Log sd-webui"))
    expect(logs).to_have_count(2)
    shown = page.get_by_role("region", name=re.compile("has printed last"))
    for log in logs.all():
        log.click()
        expect(log).to_have_attribute("aria-expanded", "true")
        expect(shown).to_have_text(re.compile("submitted|It has printed nothing"))
        if "submitted" in shown.inner_text():
            break
    expect(shown).to_contain_text("submitted")
    assert visitor.barriers() == []
    counted = itertools.count()
    page.route("**/logs?*", lambda route: route.fulfill(body="".join(f"{next(counted)} line\n" for _ in range(200))))
    expect(shown).to_contain_text(re.compile(r"\d line"))
    ended = "(each) => each.scrollTop + each.clientHeight > each.scrollHeight - 2"
    assert shown.evaluate(ended), "the newest lines are in sight"
    shown.evaluate("(each) => getSelection().setBaseAndExtent(each.firstChild, 0, each.firstChild, 20)")
    chosen, before = page.evaluate("String(getSelection())"), shown.text_content()
    for _ in range(2):
        with page.expect_response(lambda reply: "/logs" in reply.url):
            pass
    assert page.evaluate("String(getSelection())") == chosen != ""
    page.evaluate("getSelection().empty()")
    eventually(lambda: shown.text_content() != before, "the log goes on")
    assert shown.evaluate(ended)


def test_a_workspace_is_undeployed_and_removed(rig: FleetRig, visit: Visit) -> None:
    visitor = visit(f"workspaces/{MADE}")
    page = visitor.page
    page.get_by_role("button", name="Undeploy").click()
    page.get_by_role("dialog").get_by_role("button", name="Undeploy").click()
    expect(page.locator("main .state").first).to_contain_text("undeployed")
    expect(page.get_by_role("button", name="Deploy", exact=True)).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Workspaces")
    expect(page.get_by_role("link", name="sd-webui")).to_be_visible()
    expect(page.get_by_role("link", name="img2img")).to_be_hidden()
    assert rig.admin("GET", f"/workspaces/{MADE}").status_code == 404


def test_what_has_happened_is_told(visit: Visit) -> None:
    visitor = visit("events")
    page = visitor.page
    events = page.get_by_role("list", name="Events").get_by_role("listitem")
    expect(events.filter(has_text="was asked to drain").first).to_be_visible()
    picture(visitor, "events")
    before = events.count()
    page.get_by_label("Node").select_option(NODES[0])
    expect(page).to_have_url(re.compile("node=0x"))
    eventually(lambda: 0 < events.count() < before, "the filter holds")
    page.get_by_role("link", name="Clear").click()
    eventually(lambda: events.count() >= before, "the filter is gone")


VIEWS = ("fleet", "workspaces", f"workspaces/{WORKSPACE}", "workspaces/new", "tasks", "events")
COLOURFUL = ("fleet", VIEWS[2], "workspaces/new", "events")
TAKEN = {("light", VIEWS[2]): "workspace", ("dark", "fleet"): "dark", ("phone", "fleet"): "phone"}


@pytest.mark.parametrize(
    ("name", "wishes"),
    [
        ("light", {"color_scheme": "light"}),
        ("dark", {"color_scheme": "dark", "locale": "zh-CN"}),
        ("phone", {"viewport": {"width": 320, "height": 640}, "has_touch": True, "device_scale_factor": 2}),
    ],
)
def test_every_view_is_within_reach_of_everybody(
    rig: FleetRig, visit: Visit, name: str, wishes: dict[str, Any]
) -> None:
    visitor = visit(**wishes)
    page = visitor.page
    task = submit(rig, "cgi-bin/echo")
    titles = set()
    for view in (*VIEWS, f"tasks/{task}"):
        before, there = page.title(), page.url.endswith(f"/#/{view}")
        page.goto(f"{rig.gateway.admin}/#/{view}")
        if not there:
            expect(page).not_to_have_title(before)
        expect(page.locator("h1")).to_be_visible()
        expect(page.get_by_text("Loading …").or_(page.get_by_text("加载中…"))).to_have_count(0)
        # which is set a frame after the heading is there
        eventually(lambda: page.title() == f"{page.locator('h1').text_content()} · ngpu", "the title of what is shown")
        titles.add(page.title())
        assert visitor.too_wide() == [], view
        if name == "light" or (name == "dark" and view in COLOURFUL):
            assert visitor.barriers() == [], view
        if (name, view) in TAKEN:
            if TAKEN[name, view] == "workspace":
                be_busy(rig)
            picture(visitor, TAKEN[name, view])
    assert len(titles) == len(VIEWS) + 1, "each view has a title of its own"
    chinese = name == "dark"
    assert page.locator("html").get_attribute("lang") == ("zh-CN" if chinese else "en")
    page.get_by_role("button", name="English" if chinese else "中文").click()
    expect(page.get_by_role("link", name="Fleet" if chinese else "集群")).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="Fleet" if chinese else "集群")).to_be_visible()


def test_a_gateway_that_is_away_is_said_to_be_and_comes_back(rig: FleetRig, visit: Visit) -> None:
    visitor = visit()
    page = visitor.page
    expect(page.locator(".tiles")).to_be_visible()
    rig.gateway.kill9()
    banner = page.get_by_role("status").filter(has_text="The connection to the gateway is lost")
    expect(banner).to_be_visible()
    expect(page.locator(".tiles")).to_be_visible()
    page.get_by_role("link", name="Tasks").click()
    expect(page.get_by_role("alert").filter(has_text="The gateway cannot be reached")).to_be_visible()
    rig.gateway.start()
    expect(banner).to_be_hidden(timeout=30000)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("table")).to_be_visible()
    visitor.forgive("ERR_CONNECTION_REFUSED")
    visitor.forgive("ERR_INCOMPLETE_CHUNKED_ENCODING")
    visitor.forgive("ERR_CONNECTION_RESET")
    visitor.forgive("ERR_EMPTY_RESPONSE")


def test_a_session_that_ends_leads_to_the_login_and_back(rig: FleetRig, visit: Visit) -> None:
    visitor = visit()
    page, other = visitor.page, visitor.open_page()
    other.goto(page.url)
    expect(other.locator(".tiles")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Admin token")).to_be_visible()
    expect(other.get_by_label("Admin token")).to_be_visible()
    expect(other.get_by_text("Your session is over")).to_be_hidden()
    page.get_by_label("Admin token").fill(token_of(rig))
    page.keyboard.press("Enter")
    expect(page.locator(".tiles")).to_be_visible()
    expect(other.locator(".tiles")).to_be_visible()
    (cookie,) = visitor.context.cookies()
    headers = {"Cookie": f"{cookie['name']}={cookie['value']}", "Origin": rig.gateway.admin}
    assert requests.delete(f"{rig.gateway.admin}/api/v1/session", headers=headers, timeout=10).ok
    expect(page.get_by_text("Your session is over")).to_be_visible()
    visitor.forgive("401")
    page.get_by_label("Admin token").fill(token_of(rig))
    page.keyboard.press("Enter")
    expect(page.locator(".tiles")).to_be_visible()
    visitor.forgive("401")


@pytest.mark.parametrize("view", ["constructor", "__proto__/x", "nothing", "%ff"])
def test_an_address_that_names_no_view_leads_to_the_first_one(visit: Visit, view: str) -> None:
    page = visit(view).page
    expect(page.get_by_role("heading", level=1)).to_have_text("Fleet")
