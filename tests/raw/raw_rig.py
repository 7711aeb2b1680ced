"""A real gateway between a client and a worker that are both the test: plain sockets, one step after the other."""

from __future__ import annotations

import json
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import requests
from processes import Gateway, running

T = TypeVar("T")
ID, OTHER = "367614711220405248", "367614711220405249"
NODES = ("0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13", "0xf54B48DBD69d4f0841e458a551422Cf8eC1DEaaa")
HOLDER = "bc1pp8vyhh2ma0ntzjwr26xxrn5r0w296yu68wdwle5rrhgtv3a2lgkqtyayus"
NO_HOLDER = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
PORT = 8080
WITHIN = 10.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def eventually(true: Callable[[], T], what: str, within: float = WITHIN) -> T:
    """What ``true`` gives once it is something."""
    deadline = time.monotonic() + within
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.01)
    return found


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Wire:
    """One end of a connection, with what has come over it and was not read yet."""

    def __init__(self, sock: socket.socket, received: bytes = b"") -> None:
        sock.settimeout(WITHIN)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.received = received

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def until(self, end: bytes) -> bytes:
        """All up to and with ``end``."""
        while end not in self.received:
            self._more()
        return self.take(self.received.index(end) + len(end))

    def exactly(self, count: int) -> bytes:
        while len(self.received) < count:
            self._more()
        return self.take(count)

    def take(self, count: int) -> bytes:
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def head(self) -> Head:
        return Head(self.until(b"\r\n\r\n"))

    def body(self, head: Head) -> bytes:
        """The body of a message with this head."""
        if head.field("transfer-encoding") == "chunked":
            pieces = []
            while piece := self.chunk():
                pieces.append(piece)
            return b"".join(pieces)
        return self.exactly(int(head.field("content-length") or 0))

    def chunk(self) -> bytes:
        """The next chunk of a chunked body."""
        size = int(self.until(b"\r\n"), 16)
        return self.exactly(size + 2)[:-2]

    def rest(self) -> bytes:
        """All that comes before the other end closes."""
        with suppress(EOFError, ConnectionResetError):
            while True:
                self._more()
        return self.take(len(self.received))

    def gone(self) -> bool:
        """Whether the other end closes, or resets, within the time; what comes before that is dropped."""
        with suppress(OSError):
            while self.sock.recv(65536):
                pass
        return True

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        self.sock.settimeout(seconds)
        try:
            piece = self.sock.recv(65536)
        except TimeoutError:
            return not self.received
        finally:
            self.sock.settimeout(WITHIN)
        self.received += piece
        return False

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """End it with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(f"closed after {self.received[:200]!r}")
        self.received += data


class Head:
    """The head of a message."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.line, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    def field(self, name: str) -> str | None:
        """The one field of that name; two of them are an error."""
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} came twice"
        return values[0] if values else None

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.fields}

    @property
    def status(self) -> int:
        return int(self.line.split(" ")[1])


class Worker:
    """Takes connections; health checks are answered here, every other request waits for the test in `take`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._calls: queue.Queue[tuple[Wire, Head]] = queue.Queue()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def take(self, within: float = WITHIN) -> tuple[Wire, Head]:
        """The next call: its connection, of which the head was read."""
        return self._calls.get(timeout=within)

    def idle(self) -> bool:
        """Whether no call waits to be taken."""
        return self._calls.empty()

    def keep(self, wire: Wire) -> None:
        """The test is done with a connection that stays open: answer, or hand out, what comes next on it."""
        threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def stop(self) -> None:
        """Close the port, and every connection."""
        for sock in (self._listener, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                threading.Thread(target=self._serve, args=(Wire(sock),), daemon=True).start()

    def _serve(self, wire: Wire) -> None:
        wire.sock.settimeout(None)
        with suppress(OSError, EOFError):
            while True:
                head = wire.head()
                if head.line != "GET /healthz HTTP/1.1":
                    wire.sock.settimeout(WITHIN)
                    self._calls.put((wire, head))
                    return
                wire.send(OK)


class Rig:
    """One gateway and its workers."""

    def __init__(self, gateway: Gateway, workers: list[Worker]) -> None:
        self.gateway = gateway
        self.workers = workers

    @property
    def worker(self) -> Worker:
        return self.workers[0]

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.gateway.url.removeprefix("http://").partition(":")
        return host, int(port)

    def connect(self, source: str = "127.0.0.1", **options: Any) -> Wire:
        sock = socket.socket()
        sock.bind((source, 0))
        for option, value in options.items():
            sock.setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
        sock.connect(self.address)
        return Wire(sock)

    def ask(
        self,
        target: str = "/proxy/x",
        *fields: str,
        method: str = "GET",
        body: bytes = b"",
        host: str = "gw.test",
        credential: str | None = ID,
        version: str = "1.1",
    ) -> Wire:
        """Send a request; what comes back is to be read from the connection."""
        wire = self.connect()
        wire.send(request(target, *fields, method=method, body=body, host=host, credential=credential, version=version))
        return wire

    def refused(self, wire: Wire, status: int) -> str:
        """The message of a refusal of ours."""
        head = wire.head()
        assert head.status == status, head.raw
        assert head.field("Ngpu-Status") == "gateway"
        told = json.loads(wire.body(head))
        assert told["result_code"] == status
        wire.close()
        return str(told["msg"])

    def call(self, path: str, credential: str | None = ID, method: str = "GET") -> dict[str, Any]:
        """One of the partner's calls."""
        headers = {} if credential is None else {"Authorization": credential}
        reply = requests.request(method, self.gateway.url + path, headers=headers, timeout=10)
        told: dict[str, Any] = reply.json()
        return told

    def record(self, task_id: str) -> dict[str, Any]:
        info: dict[str, Any] = self.call(f"/user/getDetailed?taskID={task_id}", None)["taskInfo"]
        return info

    def ended(self, task_id: str) -> dict[str, Any]:
        """The record once the call is over."""

        def look() -> dict[str, Any] | None:
            record = self.record(task_id)
            return record if record["status"] not in ("queued", "running") else None

        return eventually(look, f"the end of {task_id}")

    def listed(self) -> list[str]:
        ids: list[str] = self.call("/user/queryTaskList?limit=10000")["taskIds"]
        return ids

    def metric(self, line: str) -> float:
        """The value of the metric that begins so; 0 where there is none."""
        token = (self.gateway.config_file.parent / "var/admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        text = requests.get(self.gateway.admin + "/metrics", headers=headers, timeout=10).text
        return sum(float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(line))

    def in_flight(self) -> float:
        return self.metric("ngpu_replica_in_flight")

    def log_lines(self) -> list[dict[str, Any]]:
        """The access log so far; a line that is being written is not there yet."""
        lines = self.gateway.log.read_text("utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def memory(self, name: str) -> int:
        """VmRSS or VmHWM of the gateway, in bytes."""
        status = Path(f"/proc/{self.gateway.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) * 1024


def request(
    target: str,
    *fields: str,
    method: str = "GET",
    body: bytes = b"",
    host: str = "gw.test",
    credential: str | None = ID,
    version: str = "1.1",
) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", f"Host: {host}", *fields]
    if credential is not None:
        lines.append(f"Authorization: Bearer {credential}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def workspace(id: str, *workers: int, **keys: Any) -> dict[str, Any]:
    """A block of ``workspaces``: one replica a worker, each on a node of its own."""
    upstream = [{"node": node, "ports": {PORT: port, 9090: port}} for node, port in zip(NODES, workers, strict=False)]
    health = {"path": "/healthz", "interval": "200ms", "timeout": "2s"}
    ports = {PORT: 7860, 9090: 9090}
    return {"id": id, "ports": ports, "upstream": upstream, "health": health, "slots": 4, **keys}


def configuration(*workspaces: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    gate = {"checker": "static", "options": {"balances": {HOLDER: {"AINN": "100.9"}}}, "tickers": ["AINN"]}
    nodes = [{"address": node, "host": "127.0.0.1"} for node in NODES]
    return {"nodes": nodes, "workspaces": list(workspaces), "gates": {"ainn": gate}, **keys}


@contextmanager
def rig_of(
    folder: Path,
    workers: int,
    make: Callable[[list[int]], Mapping[str, Any]],
    env: Mapping[str, str] | None = None,
) -> Iterator[Rig]:
    """A rig with so many workers; ``make`` gets their ports and gives the configuration."""
    started: list[Worker] = []
    try:
        started.extend(Worker() for _ in range(workers))
        with running(folder) as processes:
            rig = Rig(processes.start_gateway(make([worker.port for worker in started]), env=env), started)
            eventually(lambda: rig.metric("ngpu_replica_up") >= 1, "a replica that is up")
            yield rig
            assert "Traceback" not in rig.gateway.log.read_text(), rig.gateway.tail()
    finally:
        for worker in started:
            worker.stop()
