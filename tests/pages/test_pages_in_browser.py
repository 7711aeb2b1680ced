"""The pages in a browser: the reference is whole, and the playground takes a picture through the gateway and back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import Visitor, chromium
from playwright.sync_api import Browser, Route, expect
from processes import ROOT, Gateway, running

ID = "367614711220405248"
MASKED = "••••5248"
PHOTO = ROOT / "docs/demo/photo.png"
PICTURES = os.environ.get("NGPU_PICTURES", "")
"""A folder that pictures for the docs are put into."""

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
PATIENCE = 60_000
"""Milliseconds: redoc alone takes three seconds of a processor of its own to lay out a document."""

Visit = Callable[..., Visitor]
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("pages")) as processes:
        worker = processes.start_worker("--slots", "2")
        config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
        del config["listen"], config["admin"], config["store"]
        config["workspaces"][0]["upstream"][0]["ports"] = {8080: worker.port}
        yield processes.start_gateway(config)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def visit(gateway: Gateway, browser: Browser) -> Iterator[Visit]:
    """Makes visitors of an address; no page of theirs may have complained, or asked another host, in the end."""
    visitors: list[Visitor] = []
    elsewhere: list[str] = []

    def make(address: str, **wishes: Any) -> Visitor:
        visitor = Visitor(browser, **wishes)
        visitors.append(visitor)
        visitor.context.set_default_timeout(PATIENCE)
        visitor.context.on("request", lambda request: _note(request.url, gateway.url, elsewhere))
        visitor.page.goto(gateway.url + address)
        return visitor

    yield make
    for visitor in visitors:
        visitor.leave()
    assert not elsewhere


def _note(url: str, ours: str, elsewhere: list[str]) -> None:
    if not url.startswith((ours + "/", "data:", "blob:")):
        elsewhere.append(url)


def shot(visitor: Visitor, name: str, **more: Any) -> None:
    if PICTURES:
        visitor.picture(Path(PICTURES, f"api-{name}.png"), **more)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_reference_shows_every_call_with_samples_for_this_gateway(
    visit: Visit, gateway: Gateway, theme: str
) -> None:
    visitor = visit("/docs#operation/queryTask", color_scheme=theme)
    page = visitor.page
    expect(page.locator("[data-section-id='operation/queryTask'] h2").first).to_be_attached()
    document = page.evaluate("async () => (await fetch('/openapi.json')).json()")
    told = [each for item in document["paths"].values() for each in item.values() if isinstance(each, dict)]
    calls = [each["operationId"] for each in told]
    assert len(calls) > 40
    ids = page.evaluate("[...document.querySelectorAll('[data-section-id]')].map((each) => each.dataset.sectionId)")
    shown = {each.rpartition("operation/")[2] for each in ids if "operation/" in each}
    assert set(calls) <= shown
    call = page.locator("[data-section-id='operation/queryTask']")
    call.get_by_role("tab", name="curl").click()
    expect(call.locator("pre").first).to_contain_text(f'curl -s "{gateway.url}/user/queryTask?taskID=$TASK"')
    call.get_by_role("tab", name="Python").click()
    expect(call.locator("pre").first).to_contain_text("client.query(os.environ")
    shot(visitor, f"reference-{theme}")
    page.get_by_role("textbox").fill("purge")  # the search is a worker of its own
    expect(page.get_by_role("search").get_by_role("menuitem").first).to_be_visible()


def test_the_reference_of_the_admin_api(visit: Visit) -> None:
    page = visit("/docs/admin").page
    expect(page.locator("[data-section-id='operation/drainNode']")).to_have_count(1)
    assert (
        page.get_by_role("link", name="openapi-admin.yaml").evaluate("each => each.pathname") == "/openapi-admin.yaml"
    )
    expect(page.locator(".bar [aria-current=page]")).to_have_text("Admin API")


def fill_in(visitor: Visitor, key: str = ID) -> None:
    visitor.page.locator("#key").fill(key)
    visitor.page.locator("#sample").click()
    expect(visitor.page.locator("#preview")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "wishes"),
    [
        ("light", {}),
        ("dark-zh-phone", {**PHONE, "color_scheme": "dark", "locale": "zh-CN"}),
    ],
)
def test_a_picture_goes_through_the_gateway_and_comes_back(visit: Visit, name: str, wishes: dict[str, Any]) -> None:
    visitor = visit("/docs/playground", **wishes)
    page = visitor.page
    assert page.locator("html").get_attribute("lang") == ("zh" if "zh" in name else "en")
    fill_in(visitor)
    page.locator("#check").click()
    expect(page.locator("#key-said")).to_have_class("hint good")
    page.locator("#send").click()
    expect(page.locator("#pictures img")).to_be_visible()
    expect(page.locator("#state")).to_have_text("已完成。" if "zh" in name else "Finished.")
    assert page.locator("#pictures img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    expect(page.locator("#reply")).to_contain_text('"status": "finished"')
    assert ID not in page.locator("#sample-code").inner_text()
    expect(page.locator("#sample-code")).to_contain_text(MASKED)
    assert not visitor.barriers() and not visitor.too_wide()
    shot(visitor, f"playground-{name}", full_page=True)
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    assert ID not in page.url


@pytest.mark.parametrize("way", ["chosen", "dropped"])
def test_a_file_of_ones_own_waits_for_its_result_on_the_connection(visit: Visit, way: str) -> None:
    page = visit("/docs/playground").page
    page.locator("#key").fill(ID)
    if way == "chosen":
        page.locator("#file").set_input_files(PHOTO)
    else:
        script = """async (path) => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([await (await fetch(path)).blob()], "mine.png", {type: "image/png"}));
            return dropped;
        }"""
        page.dispatch_event("#drop", "drop", {"dataTransfer": page.evaluate_handle(script, "/docs/photo.png")})
    expect(page.locator("#file-said")).to_have_text(f"{'photo' if way == 'chosen' else 'mine'}.png, 26 KiB")
    page.locator("[value=app]").check()
    page.locator("[value=Sync]").check()
    page.locator("#send").click()
    expect(page.locator("#pictures img")).to_be_visible()
    expect(page.locator("#sample-code")).to_contain_text("/user/img2img?taskMode=Sync")


def test_by_keyboard_alone(visit: Visit) -> None:
    page = visit("/docs/playground").page
    page.locator("#language").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "key":
            break
    page.keyboard.type(ID)
    reached = []
    while "send" not in reached:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.value"))
        assert len(reached) < 20, reached
        if reached[-1] == "sample":
            page.keyboard.press("Space")
            expect(page.locator("#preview")).to_be_visible()
    assert {"check", "path", "file", "data", "Async"} <= set(reached)
    page.keyboard.press("Enter")
    expect(page.locator("#pictures img")).to_be_visible()


@pytest.mark.parametrize("mode", ["Async", "Sync"])
def test_a_task_that_runs_is_cancelled(visit: Visit, mode: str) -> None:
    page = visit("/docs/playground").page
    page.locator("#key").fill(ID)
    page.locator("#data").fill('{"prompt": "slow", "delay": 30, "init_images": ["<picture>"]}')
    page.locator("#sample").click()
    expect(page.locator("#preview")).to_be_visible()
    page.locator(f"[value={mode}]").check()
    page.locator("#send").click()
    expect(page.locator("#state")).to_have_text("The task runs." if mode == "Async" else "Waiting for the result …")
    expect(page.locator("#progress")).to_be_visible()
    page.locator("#cancel").click()
    expect(page.locator("#state")).to_have_text("Cancelled.")
    expect(page.locator("#send")).to_be_enabled()


def test_what_is_wrong_is_said(visit: Visit) -> None:
    visitor = visit("/docs/playground")
    page = visitor.page
    page.locator("#key").fill("nobody")
    page.locator("#check").click()
    expect(page.locator("#key-said")).to_contain_text("opens no workspace")
    page.locator("#send").click()
    expect(page.locator("#data-said")).to_contain_text("Choose a picture")
    page.locator("#data").fill("{")
    expect(page.locator("#data-said")).to_contain_text("This is no JSON")
    page.locator("#data").fill('{"prompt": "no picture"}')
    page.locator("#send").click()
    expect(page.locator("#state")).to_have_text("The gateway refused it.")
    page.locator("#key").fill(ID)
    page.locator("#send").click()
    expect(page.locator("#state")).to_have_text("It failed.")
    expect(page.locator("#facts")).to_contain_text("the worker answered HTTP 422")
    visitor.forgive("401 (Unauthorized)")


def test_what_is_copied_works(visit: Visit, gateway: Gateway, tmp_path: Path) -> None:
    """Each call in both forms, as the clipboard has it, in a folder with the picture."""
    visitor = visit("/docs/playground")
    page = visitor.page
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    (tmp_path / "photo.png").write_bytes(PHOTO.read_bytes())
    fill_in(visitor)
    page.locator("#data").fill(
        '{"prompt": "it\'s \\"warm\\"", "seed": 1, "tiling": true, "init_images": ["<picture>"]}'
    )
    page.locator("#send").click()
    expect(page.locator("#state")).to_have_text("Finished.")

    def copied(call: str, kind: str) -> str:
        page.locator("#call").select_option(call)
        page.locator(f"[value={kind}]").check()
        page.evaluate("navigator.clipboard.writeText('')")  # the word of the copy before may still be there
        page.locator("#copy").click()
        while not (text := str(page.evaluate("navigator.clipboard.readText()"))):
            page.wait_for_timeout(20)
        expect(page.locator("#copied")).to_have_text("Copied.")
        shown = page.locator("#sample-code").inner_text()
        assert text.strip() == shown.strip().replace(MASKED, ID)
        return text

    for mode in ("Async", "Sync"):
        page.locator(f"[value={mode}]").check()
        for kind in ("curl", "python"):
            for call in ("callSend", "callWatch", "callAsk") if mode == "Async" else ("callSend",):
                text = copied(call, kind)
                command = ["bash", "-euo", "pipefail", "-c", text] if kind == "curl" else [sys.executable, "-c", text]
                done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
                assert done.returncode == 0 and done.stdout, text + done.stderr
                assert '"result_code":200' in done.stdout or kind == "python", done.stdout[:300]
    assert "/user/cancelTask" in copied("callCancel", "curl") and "client.cancel(" in copied("callCancel", "python")


def test_the_word_of_a_copy_is_its_own(visit: Visit) -> None:
    """The timer of the copy before does not take it away."""
    visitor = visit("/docs/playground")
    page = visitor.page
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        "() => { window.timers = [];"
        " window.setTimeout = (call) => window.timers.push(call);"
        " window.clearTimeout = (number) => { window.timers[number - 1] = () => null; }; }"
    )
    for count in (1, 2):
        page.locator("#copy").click()
        while page.evaluate("window.timers.length") < count:
            page.wait_for_timeout(20)
    page.evaluate("window.timers[0]()")
    expect(page.locator("#copied")).to_have_text("Copied.")
    page.evaluate("window.timers[1]()")
    expect(page.locator("#copied")).to_have_text("")


def test_a_task_that_could_not_be_cancelled_is_not_said_to_be(visit: Visit) -> None:
    """It goes on, and the page with it; the key is that of the call, whatever stands in the field by now."""
    visitor = visit("/docs/playground")
    page = visitor.page
    page.locator("#key").fill(ID)
    page.locator("#data").fill('{"prompt": "slow", "delay": 30, "init_images": ["<picture>"]}')
    page.locator("#sample").click()
    expect(page.locator("#preview")).to_be_visible()
    page.locator("#send").click()
    expect(page.locator("#state")).to_have_text("The task runs.")
    assert not visitor.barriers()
    page.locator("#key").fill("another")
    refused = {"status": 503, "json": {"result_code": 503, "msg": "the store is away"}}
    page.route("**/user/cancelTask?*", lambda route: route.fulfill(**refused), times=1)
    page.locator("#cancel").click()
    expect(page.locator("#cancel-said")).to_have_text("the store is away")
    visitor.forgive("503")
    expect(page.locator("#state")).to_have_text("The task runs.")
    page.locator("#cancel").click()
    expect(page.locator("#state")).to_have_text("Cancelled.")
    expect(page.locator("#facts")).to_contain_text("Task")
    expect(page.locator("#cancel-said")).to_have_text("")


def test_what_comes_late_does_not_take_the_place_of_what_came_after(visit: Visit) -> None:
    """The answer about a key that was changed meanwhile, and a sample picture that is slower than a file."""
    page = visit("/docs/playground").page
    held: list[Route] = []
    for address in ("**/user/queryNodes", "**/docs/photo.png"):
        page.route(address, lambda route: held.append(route))
    page.locator("#key").fill(ID)
    page.locator("#check").click()
    page.locator("#sample").click()
    page.locator("#key").fill("another")
    page.locator("#file").set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": PHOTO.read_bytes()})
    expect(page.locator("#file-said")).to_contain_text("mine.png")
    for route in held:
        with page.expect_event("requestfinished"):
            route.continue_()
    page.wait_for_timeout(200)  # what follows a reply follows at once
    expect(page.locator("#key-said")).to_have_text("")
    expect(page.locator("#file-said")).to_contain_text("mine.png")


def test_a_copy_that_the_browser_refuses_is_said(visit: Visit) -> None:
    page = visit("/docs/playground").page
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    page.evaluate("() => { document.execCommand = () => window.taken; }")
    page.locator("#copy").click()
    expect(page.locator("#copied")).to_contain_text("does not let this page copy")
    page.evaluate("() => { window.taken = true; }")
    page.locator("#copy").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
