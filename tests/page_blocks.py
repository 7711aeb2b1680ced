"""Which test runs, or reads, each fenced block of README.md and docs/: a block that nobody is named for is an error.

Tests ask for their blocks with `told`, so that what is listed here is what they get, or read a page of their own whole.
"""

from __future__ import annotations

import fnmatch
from typing import NamedTuple

from markdown_page import placed
from processes import ROOT


class Told(NamedTuple):
    """A block: its page, the ``##`` heading that it stands under ("" before the first), and what `Block` says."""

    page: str
    section: str
    kind: str
    text: str


class Place(NamedTuple):
    """Where blocks stand; ``*`` and ``?`` as in names of files, and what it begins with."""

    page: str
    section: str = "*"
    kind: str = "*"
    begins: str = ""

    def holds(self, block: Told) -> bool:
        named = zip((block.page, block.section, block.kind), self[:3], strict=True)
        fits = all(fnmatch.fnmatchcase(name, pattern) for name, pattern in named)
        return fits and block.text.startswith(self.begins)


TEST: dict[str, tuple[str, tuple[Place, ...]]] = {
    "pasted": (
        "tests/docs/test_examples.py",
        (
            Place("README.md", "The first ten minutes"),
            Place("docs/api.md", kind="sh"),
            Place("docs/api.md", kind="json"),
            Place("docs/api.md", "Being told", "text"),
        ),
    ),
    "tutorial": ("tests/docs/test_tutorial.py", (Place("docs/tutorial.md"),)),
    "two gateways": ("tests/docs/test_two_gateways.py", (Place("README.md", "Two gateways"),)),
    "fleet": ("tests/fleet/test_real_example.py", (Place("README.md", "With your own images"),)),
    "starting": (
        "tests/docs/test_commands_of_pages.py",
        (Place("README.md", "With your own workers", "sh"), Place("docs/operating.md", "Starting and stopping", "sh")),
    ),
    "audit": ("tests/docs/test_commands_of_pages.py", (Place("docs/reliability.md", "Looking for yourself"),)),
    "keys": ("tests/docs/test_commands_of_pages.py", (Place("docs/security.md", "Credentials", "sh"),)),
    "client": ("tests/docs/test_commands_of_pages.py", (Place("README.md", "From Python"),)),
    "terminal": ("tests/cli/test_readme_commands.py", (Place("README.md", "From a terminal"),)),
    "commands": ("tests/cli/test_reference.py", (Place("docs/cli.md"),)),
    "troubleshooting": ("tests/docs/test_observability.py", (Place("docs/troubleshooting.md"),)),
    "logs": ("tests/docs/test_commands_of_pages.py", (Place("docs/observing.md", "The access log"),)),
    "events": ("tests/docs/test_commands_of_pages.py", (Place("docs/observing.md", "What has happened lately"),)),
    "openai": ("tests/raw/test_raw_clients.py", (Place("docs/api.md", "Raw calls", "python"),)),
    "webhooks": ("tests/webhooks/test_schedule.py", (Place("docs/api.md", "Being told", "python"),)),
    "rate fields": ("tests/docs/test_settings_of_pages.py", (Place("docs/api.md", "Submitting", "text"),)),
    "writing a plugin": ("tests/docs/test_writing_plugins.py", (Place("docs/plugins.md", "Writing one"),)),
    "a whole configuration": ("tests/docs/test_settings_of_pages.py", (Place("*", kind="yaml ngpu.yaml"),)),
    "a part of a configuration": ("tests/docs/test_settings_of_pages.py", (Place("*", kind="yaml"),)),
    "daemon.json": ("tests/docs/test_settings_of_pages.py", (Place("docs/fleet.md", "Docker Swarm", "json"),)),
    "rights in Redis": ("tests/stores/test_redis_access.py", (Place("docs/stores.md", "Redis", "text"),)),
}
"""By its name: the test that asks for these blocks, and where they stand. The first that fits counts."""

NOT_RUN: tuple[tuple[str, Place], ...] = (
    ("wants the repository's address; tests/test_make_run.py makes run", Place("README.md", begins="git clone")),
    ("the same", Place("docs/tutorial.md", begins="git clone")),
    ("wants root and systemd; tests/test_install.py", Place("docs/operating.md", begins="systemd/install.sh")),
    ("wants a browser; tests/raw/test_raw_clients.py has keys in queries", Place("docs/api.md", kind="js")),
    ("wants certbot and root", Place("docs/tls.md", begins="#!/bin/sh\n# /etc/letsencrypt")),
    ("of another program", Place("docs/tls.md", "*", "", "gw.example {")),
    ("a drawing", Place("docs/architecture.md", kind="")),
    ("for Sphinx; tests/docs/test_site.py", Place("docs/index.md", kind="{toctree}")),
)
"""Why no test runs some blocks, and where they stand."""


def every_block() -> list[Told]:
    """Those of all pages, in their order."""
    found = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        name = str(page.relative_to(ROOT))
        found += [Told(name, heading, block.kind, block.text) for heading, block in placed(page.read_text())]
    return found


def way_of(block: Told) -> str:
    """The name of the test that has a block, or why none has; "" where neither is said."""
    for reason, place in NOT_RUN:
        if place.holds(block):
            return reason
    return next((way for way, (_, places) in TEST.items() if any(place.holds(block) for place in places)), "")


def told(way: str) -> list[Told]:
    """The blocks that a test of that name has to run.

    :raises AssertionError: there are none.
    """
    found = [block for block in every_block() if way_of(block) == way]
    assert found, f"no page has a block for {way!r}"
    return found
