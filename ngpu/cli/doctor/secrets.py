"""Files that hold secrets: there, not empty, and for nobody else to read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ngpu.examining import Finding, Level
from ngpu.settings import Settings
from ngpu.tap import can_be_shown


def look(settings: Settings) -> Iterator[Finding]:
    """The admin token, and passwords of registries."""
    yield _file("admin token", settings.admin.token_file, made=True)
    for host, registry in settings.registries.items():
        yield _file(f"password of {host}", registry.password_file)
    for node in settings.nodes:
        if node.tls is not None:
            yield _file(f"key of {node.address}", node.tls.key)


def _file(about: str, file: Path, made: bool = False) -> Finding:
    try:
        mode = file.stat().st_mode & 0o777
        readable = os.access(file, os.R_OK)
        content = file.read_bytes().strip() if readable else b"?"
    except FileNotFoundError:
        if made:
            return Finding(Level.OK, about, f"{file} is made at the first start")
        return Finding(Level.PROBLEM, about, f"{file} is missing", "write it, for its owner only (mode 600)")
    except OSError as error:
        return Finding(Level.PROBLEM, about, f"{file}: {error.strerror}", "correct the path, or its rights")
    if not content:
        return Finding(Level.PROBLEM, about, f"{file} is empty", "remove it: a start makes one" if made else "write it")
    if made and readable and not can_be_shown(content.decode("utf-8", "replace")):
        words = f"{file} holds no token that a request could show: one line of visible ASCII characters"
        return Finding(Level.PROBLEM, about, words, "remove it: a start makes one")
    if mode & 0o077:
        advice = f"chmod 600 {file}" + (", and make a new token: remove the file and restart" if made else "")
        return Finding(Level.WARNING, about, f"{file} can be read by others (mode {mode:o})", advice)
    if not readable:
        advice = "run the check as the gateway's user" if os.geteuid() else ""
        return Finding(Level.WARNING, about, f"{file} cannot be read by whoever runs this", advice)
    return Finding(Level.OK, about, f"{file}, for its owner only")
