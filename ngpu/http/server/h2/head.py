"""Pure: from the fields of a HEADERS frame to a ``Head`` (RFC 9113 §8.2, §8.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ngpu.http.server.head import Head, find_head, parse_head
from ngpu.http.server.limits import Limits
from ngpu.http.server.refusal import Refused
from ngpu.http.server.target import RequestLines

VERSION = b"HTTP/2"
"""``Head.version`` of these requests."""

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))
_CONNECTION = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"http2-settings")
)
"""What belongs to one connection of HTTP/1.1, and would mean something once it is passed on."""

Fields = Sequence[tuple[bytes, bytes]]


class Malformed(Exception):
    """These fields are no request (RFC 9113 §8.1.1); the stream ends with PROTOCOL_ERROR."""


def head_of(fields: Fields, ended: bool, limits: Limits, lines: RequestLines) -> tuple[Head, int]:
    """The head, and how many bytes HTTP/1.1 would have needed for it.

    It goes through what reads HTTP/1.1, so that whatever passes means the same to both, and to a worker.

    :param ended: no body follows.
    :raises Malformed: it is none.
    :raises Refused: it is one that is not served.
    """
    pseudo, plain = _split(fields)
    method = pseudo.get(b":method", b"")
    if method == b"CONNECT":
        raise Refused(405, "CONNECT and TRACE are not served here.")
    path = pseudo.get(b":path", b"")
    if pseudo.get(b":scheme") not in (b"http", b"https") or not method or path[:1] not in (b"/", b"*"):
        raise Malformed("the pseudo-header fields are not those of a request")
    lengths = [value for name, value in plain if name == b"content-length"]
    if ended and any(value.strip(b"0") for value in lengths):
        raise Malformed("the body is shorter than content-length says")
    authority = pseudo.get(b":authority")
    if authority is not None:
        if any(value != authority for name, value in plain if name == b"host"):
            raise Malformed(":authority and host differ")
        plain = [(b"host", authority), *(field for field in plain if field[0] != b"host")]
    if not ended and not lengths:
        plain.append((b"transfer-encoding", b"chunked"))
    head = b"".join([b"%b: %b\r\n" % field for field in plain])
    data = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, path, head)
    find_head(data, 0, limits, lines)
    return replace(parse_head(data, limits, lines), version=VERSION), len(data)


def check_trailers(fields: Fields) -> None:
    """:raises Malformed: they are none; what they say is not looked at, as in HTTP/1.1."""
    if _split(fields)[0]:
        raise Malformed("trailers have no pseudo-header fields")


def _split(fields: Iterable[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], list[tuple[bytes, bytes]]]:
    pseudo: dict[bytes, bytes] = {}
    plain: list[tuple[bytes, bytes]] = []
    crumbs: list[bytes] = []
    for name, value in fields:
        if _VALUE.fullmatch(value) is None:
            raise Malformed("a field's value holds what it must not")
        if name[:1] == b":":
            if plain or crumbs or name in pseudo or name not in _PSEUDO:
                raise Malformed("a pseudo-header field is unknown, comes twice or comes late")
            pseudo[name] = value
        elif _NAME.fullmatch(name) is None:
            raise Malformed("a field's name is not in lower case, or no name")
        elif name in _CONNECTION or (name == b"te" and value.lower() != b"trailers"):
            raise Malformed("a field belongs to a connection of HTTP/1.1")
        elif name == b"cookie":
            crumbs.append(value)  # RFC 9113 §8.2.3
        else:
            plain.append((name, value))
    if crumbs:
        plain.append((b"cookie", b"; ".join(crumbs)))
    return pseudo, plain
