"""Pure checks of a request's head: from bytes to a frozen ``Head`` (RFC 9112 §2 to §6, RFC 9110 §5).

llhttp reads the fields; everything on which two readers of the same bytes could disagree is checked here besides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from twisted.web.http_headers import Headers

from ngpu.http.server.limits import Limits
from ngpu.http.server.refusal import Refused
from ngpu.http.server.target import RequestLine, RequestLines, Target, check_host
from ngpu.memo import Memo
from ngpu.thawed import thawed

CONTROLS = bytes(c for c in (*range(0x20), 0x7F) if c not in b"\t\r\n")
"""What no head may hold, anywhere."""

_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SINGLE = (b"host", b"content-length", b"transfer-encoding", b"expect")


@thawed
@dataclass(frozen=True, slots=True)
class Head:
    """A request's head that may be served.

    ``named`` has the values of each field by its name in lower case; ``length`` is the body's, ``None`` when it is
    chunked; ``close`` says that the client wants (HTTP/1.0: needs) the connection closed after the reply;
    ``expects`` that it waits for ``100 Continue`` before it sends the body.
    """

    method: bytes
    target: Target
    version: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    named: Mapping[bytes, Sequence[bytes]]
    length: int | None
    close: bool
    expects: bool


def headers_of(head: Head) -> Headers:
    """The fields as twisted.web has them."""
    headers = Headers()
    for name, value in head.fields:
        headers.addRawHeader(name, value)
    return headers


def find_head(buffer: bytes, scanned: int, limits: Limits, lines: RequestLines) -> int:
    """Where the head at the start of ``buffer`` ends, after its empty line, or -1 when it is not complete.

    Refuses as early as it can: what is wrong already will not become right with more bytes.

    :param scanned: how many bytes of ``buffer`` an earlier call has seen.
    :raises Refused: 400, 405, 414, 431, 501 or 505.
    """
    end = buffer.find(b"\r\n\r\n", max(scanned - 3, 0))
    if end >= 0:
        end += 4
    _check_bytes(buffer[max(scanned - 1, 0) : end if end >= 0 else None], skip_first=scanned > 0)
    line_end = buffer.find(b"\r\n", 0, limits.target_size + 34)
    if line_end < 0:
        if len(buffer) > limits.target_size + 33:
            raise Refused(414, f"The request target is longer than {limits.target_size} bytes.")
        return -1
    if end < 0 and line_end + 2 > scanned:
        lines[buffer[:line_end]]  # raises what is wrong with it
    if end > limits.head_size or (end < 0 and len(buffer) > limits.head_size):
        raise Refused(431, f"The head of the request is longer than {limits.head_size} bytes.")
    return end


def _check_bytes(data: bytes, skip_first: bool) -> None:
    """Line ends are CRLF, and there are no control characters; a CR at the very end may yet get its LF."""
    if skip_first and data[:1] == b"\n":
        data = data[1:]
    lines = data.count(b"\r\n")
    if data.count(b"\n") != lines or data.count(b"\r") - data.endswith(b"\r") != lines:
        raise Refused(400, "Lines of the head must end with CR LF.")
    if len(data.translate(None, CONTROLS)) != len(data):
        raise Refused(400, "The head holds control characters.")


def parse_head(data: bytes, limits: Limits, lines: RequestLines) -> Head:
    """Parse a complete head, from its request line to its empty line, whose bytes ``find_head`` has passed.

    :raises Refused: 400, 405, 414, 417, 431, 501 or 505.
    """
    first, *fields = data[:-4].split(b"\r\n")
    line = lines[first]
    if len(fields) > limits.header_count:
        raise Refused(431, f"The request has more than {limits.header_count} header fields.")
    try:
        HttpRequestParser(None).feed_data(data)  # which passes the fields; they are read below
    except HttpParserUpgrade:
        pass  # an Upgrade is ignored (RFC 9110 §7.8); llhttp has looked at all fields before it says so
    except HttpParserError:
        raise Refused(400, "The header fields break RFC 9112.") from None
    return _judge(line, fields)


def _field(line: bytes) -> tuple[bytes, tuple[bytes, bytes]]:
    """A field's name in lower case, and the field; b"" where the line holds none, as a folded one does."""
    name, colon, value = line.partition(b":")
    key = name.lower() if colon and _TOKEN.fullmatch(name) else b""
    return key, (name, value.strip(b" \t"))


_FIELDS = Memo(_field)
"""Most lines of a head were in an earlier one."""


def _judge(line: RequestLine, lines: Sequence[bytes]) -> Head:
    """Decide what the fields mean for the connection."""
    fields: list[tuple[bytes, bytes]] = []
    named: dict[bytes, list[bytes]] = {}
    for text in lines:
        key, field = _FIELDS[text]
        if not key:
            raise Refused(400, "The header fields break RFC 9112.")
        fields.append(field)
        if key not in named:
            named[key] = [field[1]]
        elif key in _SINGLE:
            raise Refused(400, f"The request has two {key.decode()} fields.")
        else:
            named[key].append(field[1])
    modern = line.version == b"HTTP/1.1"
    host = named[b"host"][0] if b"host" in named else None
    if host is not None:
        check_host(host)
    elif modern:
        raise Refused(400, "An HTTP/1.1 request needs a Host field.")
    authority = line.target.authority
    if authority is not None:
        fields = [(b"Host", authority), *(field for field in fields if field[0].lower() != b"host")]
        named[b"host"] = [authority]
    return Head(
        method=line.method,
        target=line.target,
        version=line.version,
        fields=tuple(fields),
        named=named,
        length=_length(_single(named, b"content-length"), _single(named, b"transfer-encoding"), modern),
        close=not modern or (b"connection" in named and b"close" in _tokens(named[b"connection"])),
        expects=b"expect" in named and _expects(named[b"expect"][0], modern),
    )


def _single(named: Mapping[bytes, Sequence[bytes]], name: bytes) -> bytes | None:
    return named[name][0] if name in named else None


def _tokens(values: Sequence[bytes]) -> set[bytes]:
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")}


def _length(length: bytes | None, coding: bytes | None, modern: bool) -> int | None:
    """The body's length (RFC 9112 §6.3); ``None``: it is chunked."""
    if coding is not None:
        if length is not None or not modern or coding.lower() != b"chunked":
            raise Refused(400, "Transfer-Encoding must be `chunked` alone, in HTTP/1.1, without Content-Length.")
        return None
    if length is None:
        return 0
    if not length.isdigit() or len(length) > 18:
        raise Refused(400, "Content-Length must be a decimal number of at most 18 digits.")
    return int(length)


def _expects(expect: bytes, modern: bool) -> bool:
    """Whether the client waits for ``100 Continue`` (RFC 9110 §10.1.1)."""
    if expect.lower() != b"100-continue":
        raise Refused(417, "Only `Expect: 100-continue` can be met.")
    return modern


def check_trailer(line: bytes) -> None:
    """:raises Refused: 400, when this trailer line, without its CRLF, is no header field."""
    if _FIELD.fullmatch(line) is None:
        raise Refused(400, "The trailers of the chunked body break RFC 9112.")
