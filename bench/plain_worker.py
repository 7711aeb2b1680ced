"""The worker behind all that ``bench/compare.py`` measures: ``python bench/plain_worker.py PORT``.

Every request gets the same kilobyte, ``GET /down`` the bytes that its query names (``/down?268435456``), and ``POST
/up`` a header ``x-received`` with the number of bytes that came.
"""

from __future__ import annotations

import asyncio
import sys

import httptools
from fixed_worker import BODY, REPLY

PIECE = bytes(256 * 1024)


class PlainReply(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.received = 0
        self.left = 0
        self.paused = False

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        """llhttp: a request begins."""
        self.url, self.received = b"", 0

    def on_url(self, url: bytes) -> None:
        """llhttp: some of the target."""
        self.url += url

    def on_body(self, data: bytes) -> None:
        """llhttp: some of the body."""
        self.received += len(data)

    def on_message_complete(self) -> None:
        """llhttp: the request is there; answer it."""
        if self.url.startswith(b"/down?"):
            self.left = int(self.url.partition(b"?")[2])
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % self.left)
            self._go_on()
        elif self.url.startswith(b"/up"):
            head = b"HTTP/1.1 200 OK\r\nx-received: %d\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(head % (self.received, len(BODY)) + BODY)
        else:
            self.transport.write(REPLY)

    def pause_writing(self) -> None:
        """asyncio: enough for now."""
        self.paused = True

    def resume_writing(self) -> None:
        """asyncio: more."""
        self.paused = False
        self._go_on()

    def _go_on(self) -> None:
        while self.left and not self.paused:
            size = min(self.left, len(PIECE))
            self.left -= size
            self.transport.write(PIECE if size == len(PIECE) else PIECE[:size])


async def main(port: int) -> None:
    """Listen until the process is ended."""
    server = await asyncio.get_running_loop().create_server(PlainReply, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
