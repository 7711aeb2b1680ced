"""The ports and sockets where a gateway is to listen: free, or its own."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx

from ngpu.cli.finding import url_of
from ngpu.examining import Finding, Level
from ngpu.settings import Settings

_PRIVILEGED = 1024


def look(settings: Settings) -> Iterator[Finding]:
    """Every endpoint description of ``listen`` and ``admin.listen``."""
    runs = _runs(settings)
    for key, descriptions in (("listen", settings.listen), ("admin.listen", settings.admin.listen)):
        for description in descriptions:
            yield _one(key, description, runs)


def _one(key: str, description: str, runs: bool) -> Finding:
    kind, *parts = (part.replace("\\:", ":") for part in re.split(r"(?<!\\):", description))
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    first = next((part for part in parts[:1] if "=" not in part), "")
    if kind == "unix":
        return _socket(key, Path(named.get("address", first)), runs)
    port = named.get("port", first)
    if kind not in ("tcp", "tcp6", "ssl") or not port.isdigit():
        return Finding(Level.OK, key, f"{description}: whoever starts the gateway opens it")
    host = named.get("interface", "")
    family = socket.AF_INET6 if ":" in host or kind == "tcp6" else socket.AF_INET
    trouble = _bound(family, host, int(port))
    if trouble is None:
        return Finding(Level.OK, key, f"{description} is free")
    if trouble.errno == errno.EADDRINUSE and runs:
        return Finding(Level.OK, key, f"{description} is the gateway's, which runs")
    return Finding(Level.PROBLEM, key, f"{description}: {trouble.strerror}", _advice(trouble, int(port)))


def _bound(family: socket.AddressFamily, host: str, port: int) -> OSError | None:
    """Why one cannot listen there."""
    try:
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(1)
    except socket.gaierror as error:
        return OSError(errno.EADDRNOTAVAIL, error.strerror)
    except OSError as error:
        return error
    return None


def _advice(trouble: OSError, port: int) -> str:
    if trouble.errno == errno.EADDRINUSE:
        return f"another program has it: find it with  ss -ltnp 'sport = :{port}'  and end it, or choose another port"
    if trouble.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address: correct interface="
    if trouble.errno == errno.EACCES and port < _PRIVILEGED:
        return "ports below 1024 are root's: choose another one, or let systemd open it (systemd/ngpu.socket)"
    return ""


def _socket(key: str, path: Path, runs: bool) -> Finding:
    if not path.parent.is_dir():
        return Finding(Level.PROBLEM, key, f"unix:{path}: there is no folder {path.parent}", "make it")
    if path.exists() and not path.is_socket():
        return Finding(
            Level.PROBLEM, key, f"unix:{path} is there, and no socket", "move it away, or choose another path"
        )
    return Finding(
        Level.OK, key, f"unix:{path}" + (" is there, of a gateway that runs" if path.exists() and runs else "")
    )


def _runs(settings: Settings) -> bool:
    """Whether a gateway of ngpu answers at the admin listener."""
    url = url_of(settings.admin.listen)
    if url is None:
        return False
    try:
        # nothing secret is sent, and a certificate may be for another name than this machine's own
        reply = httpx.get(f"{url}/healthz", timeout=3.0, trust_env=False, verify=False)
        return bool(reply.json()["result_code"] == 200)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return False
