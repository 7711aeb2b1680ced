"""How many connections may wait in a listening socket: a burst of them must not wait for a second."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as reactor_
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import Factory

from ngpu.processes.sockets import BACKLOG, Sockets

reactor: Any = reactor_


def backlog(listening: socket.socket) -> int:
    """As the kernel has it: tcpi_sacked, of a listening socket."""
    return int(struct.unpack_from("=I", listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)[0])


@pytest.mark.parametrize(("more", "expected"), [("", BACKLOG), (":backlog=7", 7)])
@pytest_twisted.ensureDeferred
async def test_a_burst_of_connections_has_room(more: str, expected: int) -> None:
    most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    sockets = Sockets(reactor, {}, shared=False)
    description = f"tcp:0:interface=127.0.0.1{more}"
    await sockets.listen(description, Factory())
    port = sockets._ports[description]
    try:
        assert backlog(port.socket) == min(expected, most)
    finally:
        await maybeDeferred(port.stopListening)
