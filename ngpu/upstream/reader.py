"""The bytes of a connection → one reply. Knows HTTP/1.1 and no socket."""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from ngpu.errors import BadReply
from ngpu.upstream.headers import Field

MAX_FIELDS = 200
"""How many header fields (interim replies and trailers counted too) a reply may have."""

MAX_HEAD = 64 * 1024
"""How many bytes a reply's head, or its trailers, may have."""

SWITCHED = 101
"""Switching Protocols (RFC 9110 §15.2.2)."""


class ReplyReader:
    """Reads the reply to one request; a new one is made for the next.

    llhttp, strict as it comes, does the framing and refuses bad characters, folded lines, differing lengths and
    Content-Length beside Transfer-Encoding; what it lets through is refused here. After a ``BadReply`` the reader must
    not be used again. ``status`` is 0 until the head of the final reply (interim ones are skipped, RFC 9110 §15.2) is
    complete; ``length`` is the body's, ``None`` where only its end will tell, and ``received`` what of it has come yet.

    ``continued`` says that the replica asked for the request's body (100).

    :param head: the request was a HEAD, whose reply has no body whatever its fields say (RFC 9112 §6.3).
    :param switches: the request asked for a WebSocket, so 101 is a final reply, whose body all further bytes are.
    """

    __slots__ = (
        "_barren",
        "_body",
        "_count",
        "_fields",
        "_head_only",
        "_opening",
        "_parser",
        "_problem",
        "_switches",
        "complete",
        "continued",
        "fields",
        "length",
        "persistent",
        "received",
        "status",
        "until_close",
    )

    def __init__(self, head: bool = False, switches: bool = False) -> None:
        self.status = 0
        self.continued = False
        self.fields: tuple[Field, ...] = ()
        self.length: int | None = None
        self.received = 0
        self.until_close = False
        self.complete = False
        self.persistent = False
        self._head_only = head
        self._switches = switches
        self._fields: list[Field] = []
        self._count = 0
        self._barren = 0
        self._opening = b""
        self._body: list[bytes] = []
        self._problem = ""
        self._parser: HttpResponseParser | None = HttpResponseParser(self)

    @property
    def began(self) -> bool:
        """Whether any byte of a reply was seen."""
        return bool(self._opening)

    def feed(self, data: bytes) -> bytes:
        """Take what the connection brought; the body's bytes among it.

        Bytes after the end of the reply take its ``persistent`` away: they belong to nothing that was asked.

        :raises BadReply: with a clause that completes "The replica at … ".
        """
        if self._parser is None:
            return self._feed_rest(data)
        if len(self._opening) < 5:
            self._opening += data[: 5 - len(self._opening)]
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._parser = None
            return data[upgrade.args[0] :]
        except HttpParserError as error:
            if not self.complete:
                raise BadReply(self._problem or f"sent broken HTTP ({_reason(error)})") from None
            self.persistent = False
        if self.complete:
            self._parser = None  # it refers to us: without this only the garbage collector frees the two
        elif self._body:
            self._barren = 0
        else:
            self._check_progress(len(data))
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        if not self.complete:
            self.received += len(body)
        return body

    def passed(self, count: int) -> None:
        """So many bytes of the body, whose ``length`` is known, went another way."""
        if self._parser is not None:
            self.persistent = self.persistent and self._parser.should_keep_alive()
            self._parser = None  # it counts what it has seen
        self.received += count
        self.complete = self.received == self.length

    def _feed_rest(self, data: bytes) -> bytes:
        """Take what the parser must not see: a WebSocket's bytes, the rest of a body behind what passed, nobody's."""
        if self.status == SWITCHED:
            return data
        left = 0 if self.complete or self.length is None else self.length - self.received
        if len(data) > left:
            self.persistent = False
        self.received += min(len(data), left)
        self.complete = self.complete or self.received == self.length
        return data[:left]

    def on_message_begin(self) -> None:
        """llhttp: another message begins."""
        if self.complete:
            self._refuse("sent bytes after its reply")

    def on_header(self, name: bytes, value: bytes) -> None:
        """llhttp: a field of the head, or of the trailers, which are not passed on (RFC 9110 §6.5.1)."""
        self._count += 1
        if self._count > MAX_FIELDS:
            self._refuse(f"sent more than {MAX_FIELDS} header fields")
        if not self.status:
            self._fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """llhttp: the head of an interim or final reply is there."""
        assert self._parser is not None
        status = self._parser.get_status_code()
        version = self._parser.get_http_version()
        self._check_line(status, version)
        if status < 200 and status != SWITCHED:
            self.continued = self.continued or status == 100
            self._fields.clear()
            return
        if sum([len(name) + len(value) + 4 for name, value in self._fields]) > MAX_HEAD:
            self._refuse(f"sent a head of more than {MAX_HEAD // 1024} KiB")
        self.fields = tuple(self._fields)
        self._frame(status, version)
        self.status = status

    def on_body(self, data: bytes) -> None:
        """llhttp: some of the body."""
        if self.complete:
            self._refuse("sent a body where there is none")
        self._body.append(data)

    def on_message_complete(self) -> None:
        """llhttp: the end of an interim reply, or of ours."""
        if self.status and self.status != SWITCHED and not self.complete:
            assert self._parser is not None
            self.complete = True
            self.persistent = self.persistent and self._parser.should_keep_alive()

    def _check_line(self, status: int, version: str) -> None:
        """Refuse what llhttp accepts in a status line."""
        if self._opening != b"HTTP/" or version not in ("1.1", "1.0"):
            self._refuse("answered in a protocol other than HTTP/1.1")
        if not 100 <= status <= 599:
            self._refuse(f"answered with status {status:03}, which HTTP does not have")
        if status == SWITCHED and not self._switches:
            self._refuse("switched protocols (status 101), which nobody asked for")

    def _frame(self, status: int, version: str) -> None:
        """Where the body ends (RFC 9112 §6.3)."""
        if status == SWITCHED:
            said = {name.lower(): value.strip(b" \t").lower() for name, value in self.fields}
            if said.get(b"upgrade") != b"websocket" or said.get(b"connection") != b"upgrade":
                self._refuse("switched to another protocol than it was asked for")
            self.until_close = True
            return
        codings = []
        for name, value in self.fields:
            key = name.lower()
            if key == b"content-length":
                self.length = int(value)
            elif key == b"transfer-encoding":
                codings.append(value.lower())
        if codings and (codings != [b"chunked"] or version == "1.0"):
            self._refuse("used a transfer coding other than chunked")
        self.persistent = version == "1.1"
        if self._head_only or status in (204, 304):
            # llhttp does not know what was asked: to it, a HEAD's Content-Length announces a body. A chunked one
            # could be followed by a few bytes that it swallows in silence, so that connection is not used again.
            assert self._parser is not None
            self.persistent = self.persistent and not codings and self._parser.should_keep_alive()
            self.length = 0
            self.complete = True
        else:
            self.until_close = self.length is None and not codings

    def _check_progress(self, arrived: int) -> None:
        """Refuse a head, a chunk's extension or a trailer that goes on for ever: we only see them once they end."""
        self._barren += arrived
        if self._barren > MAX_HEAD:
            raise BadReply(f"sent a head of more than {MAX_HEAD // 1024} KiB")

    def _refuse(self, problem: str) -> None:
        """Stop the parser, which tells its caller nothing of what a callback raised."""
        self._problem = problem
        raise BadReply(problem)


def _reason(error: HttpParserError) -> str:
    """llhttp's words for what is wrong."""
    return str(error.args[0]).lower() if error.args else "not parseable"
