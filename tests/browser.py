"""A headless Chromium for tests, which fails them for what a page complains of: errors, and what its policy refuses."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

COMMAND = "chromium"
FLAGS = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
FLAGS += ("--disable-component-update", "--disable-sync", "--no-sandbox")  # root has no sandbox, and pages are ours
WITHIN = 15.0
GRAVE = ("serious", "critical")

_WATCH_POLICY = """
    addEventListener('securitypolicyviolation', (event) => {
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
"""


def browser_or_skip() -> str:
    """Where the browser is; skip the test where there is none, fail it where continuous integration promises one.

    :raises AssertionError: under ``CI``.
    """
    found = shutil.which(COMMAND)
    if found is None:
        why = f"{COMMAND} is not installed (make test installs it with apt)"
        assert not os.environ.get("CI"), f"tests in a browser cannot run: {why}"
        print(f"\n*** Tests in a browser are skipped: {why}", file=sys.__stderr__)
        pytest.skip(f"no browser: {why}")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that ends with the block."""
    executable = browser_or_skip()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """Somebody with a browser of their own: cookies, storage, language and theme.

    :ivar complaints: what pages have said on their consoles, and the failures that nobody caught.
    """

    def __init__(self, browser: Browser, **wishes: Any) -> None:
        wishes = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US", **wishes}
        self.context: BrowserContext = browser.new_context(**wishes)
        self.context.set_default_timeout(WITHIN * 1000)
        self.context.add_init_script(_WATCH_POLICY)
        self.complaints: list[str] = []
        self._forgiven: list[str] = []
        self.page = self.open_page()

    def open_page(self) -> Page:
        """Another tab."""
        page = self.context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"not caught: {error}"))
        return page

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(words in message.text for words in self._forgiven):
            self.complaints.append(f"{message.type}: {message.text}")

    def forgive(self, words: str) -> None:
        """Forget complaints with these words in them, those that come late too: the test has provoked them."""
        self._forgiven.append(words)
        self.complaints = [each for each in self.complaints if words not in each]

    def barriers(self) -> list[str]:
        """What axe finds on the page that is grave for those who see, hear or move otherwise."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']} ({each['impact']}): {node['html'][:200]} {node['failureSummary']}"
            for each in found
            if each["impact"] in GRAVE
            for node in each["nodes"]
        ]

    def too_wide(self) -> list[str]:
        """What stands out over the right edge of the page."""
        script = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
            [...document.querySelectorAll('*')].filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
            .map((each) => each.outerHTML.slice(0, 150))
        """
        wide: list[str] = self.page.evaluate(script)
        return wide

    def picture(self, file: Path, **more: Any) -> None:
        """The page as it looks."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=file, **more)

    def leave(self) -> None:
        """Close the browser's windows, and see that no page had to complain.

        :raises AssertionError: one had.
        """
        self.context.close()
        assert not self.complaints, self.complaints
