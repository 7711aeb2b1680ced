"""Who may import whom, read out of the source with `ast`: the rules, and the checker that finds what breaks them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOMS = (
    "errors",
    "changing",
    "thawed",
    "limits",
    "auditing",
    "model",
    "listing",
    "outbox",
    "queue",
    "passing",
    "interfaces",
    "plugin",
    "adapter",
    "containers",
    "examining",
    "placing",
    "policy",
    "sharing",
    "storing",
    "families",
    "memo",
    "journal",
    "waiting",
    "deadlines",
    "reads",
    "relay",
    "steady",
    "polling",
    "following",
    "addresses",
    "egress",
    "lookup",
    "certificates",
    "settings",
    "options",
    "selection",
    "dialects",
    "brc20",
    "stores",
    "engines",
    "wire",
    "media",
    "tracing",
    "otel",
    "histogram",
    "metrics",
    "standing",
    "chooser",
    "adapting",
    "member",
    "pool",
    "leases",
    "draining",
    "line",
    "upstream",
    "fetch",
    "vetted",
    "archives",
    "forward",
    "calls",
    "tasks",
    "fleet",
    "tenancy",
    "roster",
    "workspaces",
    "gates",
    "allowance",
    "scratch",
    "submission",
    "figures",
    "series",
    "pulse",
    "systemd",
    "log_lines",
    "processes",
    "direct",
    "audit",
    "raw",
    "gateway",
    "backlog",
    "webhooks",
    "cloud",
    "http",
    "origin",
    "discovery",
    "authoring",
    "wiring",
    "parts",
    "assembly",
    "service",
    "tap",
    "client",
    "cli",
)
"""Imports go down this list only: a room sees those before it."""

BASE = frozenset(ROOMS[: ROOMS.index("families") + 1])
SEES = {
    "client": frozenset[str](),
    "plugins": BASE | {"options", "selection", "brc20", "dialects", "stores", "engines"},
    "testing": BASE,
    "sketches": BASE | {"options", "selection", "brc20", "testing"},
    "demo": frozenset[str](),
    "__init__": frozenset[str](),
}
"""What the rooms beside the list see; nobody imports these, but discovery the plugins and `cli` the client."""

MAX_LINES = 300


def violations(root: Path) -> list[str]:
    """Everything under a checkout that breaks the rules, each as ``file:line: what is wrong``."""
    found = [
        f"{path}:1: must not exist: it would hide Twisted's own package"
        for path in ("twisted/__init__.py", "twisted/plugins/__init__.py")
        if (root / path).exists()
    ]
    for top, room in (("ngpu", None), ("plugins", "plugins")):
        for file in sorted((root / top).rglob("*.py")):
            path = file.relative_to(root)
            if path.parts[:2] != ("ngpu", "plugins"):  # a symlink to plugins/
                found += _in_file(file, path, room or path.parts[1].removesuffix(".py"))
    return found


def _in_file(file: Path, path: Path, room: str) -> Iterator[str]:
    text = file.read_text("utf-8")
    lines = text.count("\n")
    if lines > MAX_LINES:
        yield f"{path}:{lines}: {lines} lines, more than {MAX_LINES}: a file is about one thing"
    tree = ast.parse(text, str(path))
    yield from (f"{path}:{line}: {what}" for line, what in _global_reactor(tree))
    if room not in ROOMS and room not in SEES:
        yield f"{path}:1: the room ngpu.{room} has no place in tests/layers.py"
        return
    sees = SEES[room] if room in SEES else frozenset(ROOMS[: ROOMS.index(room)])
    if room == "discovery":
        sees |= {"plugins"}  # the package that it looks into
    package = path.with_suffix("").parts if file.name == "__init__.py" else path.parts
    for line, other in _imported_rooms(tree, package[:-1]):
        if other != room and other not in sees:
            yield f"{path}:{line}: ngpu.{room} must not import ngpu.{other}"


def _imported_rooms(tree: ast.Module, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and room of each import of ngpu's own, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _room(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield from _room(node.lineno, f"{module}.{alias.name}")


def _room(line: int, name: str) -> Iterator[tuple[int, str]]:
    parts = name.split(".")
    if parts[0] == "ngpu" and len(parts) > 1 and parts[1] != "__version__":
        yield line, parts[1]


def _global_reactor(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Imports of the global reactor that run when the module is imported."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = []
            pending += [
                child
                for child in ast.iter_child_nodes(node)
                if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            ]
        if any(name == "twisted.internet.reactor" or name.startswith("twisted.internet.reactor.") for name in names):
            yield node.lineno, "imports the global reactor with the module; pass it in"  # type: ignore[attr-defined]
