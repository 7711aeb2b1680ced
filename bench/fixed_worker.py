"""A worker that costs next to nothing: answers every request with the same kilobyte of JSON.

``python bench/fixed_worker.py PORT``. It reads just enough HTTP to know where a request ends, which is right for the
load generator and the gateway (Content-Length, or chunked without trailers) and for nobody else.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

BODY = json.dumps({"images": ["iVBORw0KGgo" + "A" * 960], "info": "fixed"}).encode()
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)


def message_end(data: bytes | bytearray) -> int:
    """Where the first HTTP message in ``data`` ends; -1 while it is not all there."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return -1
    if length := LENGTH.search(data, 0, head + 2):
        end = head + 4 + int(length[1])
        return end if len(data) >= end else -1
    if CHUNKED.search(data, 0, head + 2):
        last = data.find(b"0\r\n\r\n", head + 4)
        return last + 5 if last >= 0 else -1
    return head + 4


class FixedReply(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.data = bytearray()

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self.data += data
        while (end := message_end(self.data)) >= 0:
            del self.data[:end]
            self.transport.write(REPLY)


async def main(port: int) -> None:
    """Listen until the process is ended."""
    server = await asyncio.get_running_loop().create_server(FixedReply, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
