"""The loads of ``bench/compare.py``: wrk at some connections, a big body down and up, and idle connections."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fixed_worker import message_end
from gateway import ROOT
from servers import AUTHORIZATION, Server

MIB = 1024 * 1024
PIECE = bytes(256 * 1024)
SETTLE = 0.3
"""Seconds between a load and the reading of what it cost: the rest of it still runs."""


class Failed(Exception):
    """A server did not do what is measured."""


def rate(server: Server, body: Path, connections: int, seconds: float) -> dict[str, float]:
    """Requests a second, latencies, and processor time of a request, after a short warm-up.

    :raises Failed: when a reply was not 2xx or a connection broke.
    """
    generate(server.url, body, connections, max(0.3, seconds / 5))
    before = server.cpu_seconds()
    result = generate(server.url, body, connections, seconds)
    time.sleep(SETTLE)  # what was under way at the end is not in the count: at most one request a connection
    used = server.cpu_seconds() - before
    return {**result, "cpu_us": round(used / max(1, result["requests"]) * 1e6, 2)}


def generate(url: str, body: Path, connections: int, seconds: float) -> dict[str, float]:
    """Run wrk, or ``bench/load.py`` where there is none."""
    if not shutil.which("wrk"):
        return _generate_ourselves(url, body, connections, seconds)
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "-s",
        str(ROOT / "bench/post.lua"),
        url,
    ]
    env = {**os.environ, "BENCH_BODY": str(body), "BENCH_AUTHORIZATION": AUTHORIZATION}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=seconds + 60)
    line = next((one for one in done.stdout.splitlines() if one.startswith("RESULT ")), "")
    if not line:
        raise Failed(f"wrk: {done.stdout}{done.stderr}")
    requests, micros, p50, p99, statuses, broken = map(int, line.split()[1:])
    if statuses or broken or not requests:
        raise Failed(f"of {requests} replies {statuses} were no 2xx, and {broken} connections broke")
    numbers = {"requests": requests, "per_second": round(requests / micros * 1e6, 1)}
    return {**numbers, "p50_ms": p50 / 1000, "p99_ms": p99 / 1000}


def _generate_ourselves(url: str, body: Path, connections: int, seconds: float) -> dict[str, float]:
    import json

    command = [sys.executable, str(ROOT / "bench/load.py"), url, "--body", str(body), "--warm-up", "0"]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    command += ["--header", "Content-Type: application/json", "--header", f"Authorization: {AUTHORIZATION}"]
    result: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    if result["not_200"] or result["lost_connections"]:
        raise Failed(f"{result['not_200']} replies were no 200: {result['sample']!r}")
    return {name: result[name] for name in ("requests", "per_second", "p50_ms", "p99_ms")}


def transfer(server: Server, way: str, mebibytes: int) -> dict[str, float]:
    """Megabytes a processor-second, and how many megabytes of memory more it took at its peak.

    :param way: ``down`` or ``up``.
    :raises Failed: when not every byte arrived.
    """
    size = mebibytes * MIB
    _move(server, way, MIB)
    memory = server.memory()
    server.forget_peak()
    before, begun = server.cpu_seconds(), time.perf_counter()
    _move(server, way, size)
    took = time.perf_counter() - begun
    used = max(0.01, server.cpu_seconds() - before)
    growth = server.memory("VmHWM") - memory
    return {
        "mb_per_cpu_second": round(size / 1e6 / used, 1),
        "mb_per_second": round(size / 1e6 / took, 1),
        "growth_mb": round(growth * 1024 / 1e6, 2),
    }


def _move(server: Server, way: str, size: int) -> None:
    parts = urlsplit(server.root)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    try:
        if way == "down":
            connection.request("GET", f"{server.prefix}/down?{size}", headers={"Authorization": AUTHORIZATION})
            reply = connection.getresponse()
            buffer, got = bytearray(MIB), 0
            while count := reply.readinto(buffer):
                got += count
        else:
            connection.putrequest("POST", f"{server.prefix}/up")
            for name, value in (("Authorization", AUTHORIZATION), ("Content-Length", str(size))):
                connection.putheader(name, value)
            connection.endheaders()
            for _ in range(size // len(PIECE)):
                connection.send(PIECE)
            reply = connection.getresponse()
            got = int(reply.headers.get("x-received", -1))
            reply.read()
        if reply.status != 200 or got != size:
            raise Failed(f"{way}: status {reply.status}, {got} of {size} bytes")
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{way}: {error!r}") from error
    finally:
        connection.close()


def idle(server: Server, body: Path, count: int) -> dict[str, float]:
    """Kilobytes that a connection costs which has had one reply and stays open.

    :raises Failed: when one of them did not get its reply, or was closed.
    """
    parts = urlsplit(server.url)
    assert parts.hostname is not None and parts.port is not None
    data = body.read_bytes()
    target = parts.path + ("?" + parts.query if parts.query else "")
    head = f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: {AUTHORIZATION}\r\n"
    request = f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
    memory = server.memory()
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.create_connection((parts.hostname, parts.port), 30)
            sockets.append(one)
            one.sendall(request)
            got = b""
            while message_end(got) < 0:
                piece = one.recv(65536)
                if not piece:
                    raise Failed("idle: closed before the reply was there")
                got += piece
        time.sleep(SETTLE)
        for one in sockets:
            one.setblocking(False)
        open_still = sum(_is_open(one) for one in sockets)
        if open_still < count:
            raise Failed(f"idle: {count - open_still} of {count} were closed")
        return {"kb_each": round((server.memory() - memory) * 1.024 / count, 2)}
    finally:
        for one in sockets:
            one.close()


def _is_open(one: socket.socket) -> bool:
    try:
        return one.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
