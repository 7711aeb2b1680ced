"""The request that Klein sees, over HTTP/2: another head on the wire, and no framing of the body."""

from __future__ import annotations

from twisted.web.http import datetimeToString

from ngpu.http.server.h2.reply import passed_fields, reply_fields, size_of
from ngpu.http.server.reply import Fields, Framing, frame
from ngpu.http.server.request import NgpuRequest


class H2Request(NgpuRequest):
    """See `NgpuRequest`; ``channel`` is a `Stream`."""

    def switch(self, fields: Fields, own: Fields = ()) -> None:
        """:raises ValueError: a stream does not become a tunnel; nobody can have asked for it."""
        raise ValueError("HTTP/2 has no Upgrade")

    def _pass_head(
        self, status: int, fields: Fields, framing: Framing, close: bool, own: Fields, wait: bool = False
    ) -> None:
        length = framing.length
        self._send_head(status, passed_fields(status, (*fields, *own), length, self.channel.site.date()), framing)

    def _begin(self, length: int | None, data: bytes) -> None:
        framing = frame(self.code, self.method, self.clientproto, length)
        if self.lastModified is not None:
            self.responseHeaders.setRawHeaders(b"Last-Modified", [datetimeToString(self.lastModified)])
        if self.etag is not None:
            self.responseHeaders.setRawHeaders(b"ETag", [self.etag])
        if self.cookies:
            self.responseHeaders.setRawHeaders(b"Set-Cookie", self.cookies)
        fields = self.responseHeaders.getAllRawHeaders()
        self._send_head(self.code, reply_fields(self.code, fields, framing.length, self.channel.site.date()), framing)
        held = self._drop_held()
        self._send(b"", held + data if held and data else held or data)

    def _send_head(self, status: int, fields: list[tuple[bytes, bytes]], framing: Framing) -> None:
        self.code = status
        self.startedWriting = 1
        self._framing = framing
        self.bytes_out += size_of(fields)
        self.channel.send_head(fields, bare=not framing.body or framing.length == 0)
