"""Which header fields cross the gateway, and how they are kept while they do. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, AnyStr

from twisted.web.http_headers import Headers

from ngpu.errors import BadRequest
from ngpu.memo import Memo, size_of_field

Field = tuple[bytes, bytes]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that are about one connection (RFC 9110 §7.6.1)."""

PER_MESSAGE = frozenset({b"content-length", b"expect", b"host"})
"""Fields that each side of the gateway writes for itself: a copied one next to ours is how requests are smuggled."""

OURS = frozenset({b"authorization", b"btcaddress", b"forwarded", b"token", b"x-real-ip"})
"""Request fields meant for the gateway: its credentials (wire contract §2, §3, §7), and claims of other proxies.

``X-Forwarded-*`` goes with the latter. ``Cookie`` does not: it belongs to the conversation with the worker.
"""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_REQUEST_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ /[\x21\x22\x24-\x7e]* HTTP/1\.1\r\n")


_CROSSES, _STAYS, _CONNECTION = range(3)


def _sent(name: bytes) -> int:
    """Whether a field of a request goes on to the worker."""
    key = name.lower()
    if key == b"connection":
        return _CONNECTION
    stays = key in HOP_BY_HOP or key in PER_MESSAGE or key in OURS or key.startswith(b"x-forwarded-")
    return _STAYS if stays else _CROSSES


def _returned(name: bytes) -> int:
    """Whether a field of a reply goes on to the customer; those that are named after the gateway are its own."""
    key = name.lower()
    if key == b"connection":
        return _CONNECTION
    return _STAYS if key in HOP_BY_HOP or key in PER_MESSAGE or key.startswith(b"ngpu-") else _CROSSES


_SENT, _RETURNED = Memo(_sent), Memo(_returned)


def request_fields(fields: Sequence[Field]) -> tuple[Field, ...]:
    """The fields of a customer's request that a worker gets to see, in their order and case."""
    return _crossing(fields, _SENT)


def reply_fields(fields: Sequence[Field]) -> tuple[Field, ...]:
    """The fields of a worker's reply that a customer gets to see, in their order and case."""
    return _crossing(fields, _RETURNED)


def _crossing(fields: Sequence[Field], kinds: Memo[bytes, int]) -> tuple[Field, ...]:
    """The fields that go on, without those that are named in Connection."""
    kept, connection = [], b""
    for field in fields:
        what = kinds[field[0]]
        if what == _CROSSES:
            kept.append(field)
        elif what == _CONNECTION:
            connection += b"," + field[1]
    if connection:
        named = {option.strip().lower() for option in connection.split(b",")}
        kept = [field for field in kept if field[0].lower() not in named]
    return tuple(kept)


def block(fields: Sequence[Field]) -> bytes:
    """The fields as they stand on the wire (RFC 9112 §5).

    :raises BadRequest: a name that is no token, or a value with a control character (RFC 9110 §5.1, §5.5).
    """
    lines = [_LINES[field] for field in fields]
    if b"" in lines:
        raise BadRequest("A header field's name is no token, or its value holds control characters: correct it.")
    return b"".join(lines)


def _line(field: Field) -> bytes:
    """A field as it stands on the wire; b"" where it cannot."""
    name, value = field
    return b"%b: %b\r\n" % field if _TOKEN.fullmatch(name) and _CONTROL.search(value) is None else b""


_LINES = Memo(_line, size_of_field)


def request_line(method: bytes, target: bytes) -> bytes:
    """The request line (RFC 9112 §3), with the target as it is.

    :raises BadRequest: a method that is no token, or a target that is not in origin form (RFC 9112 §3.2.1): a slash,
        then visible US-ASCII without ``#``.
    """
    line = b"%b %b HTTP/1.1\r\n" % (method, target)
    if not _REQUEST_LINE.fullmatch(line):
        raise BadRequest("The request's method or target has characters that cannot be sent: percent-encode them.")
    return line


class Fields(Headers):
    """Header fields that keep the order and case of the wire, where ``Headers`` groups and respells them.

    Read-only. ``fields`` has the pairs; the methods of ``Headers`` see them as it would.

    :param host: what a request's Host says, where that is not the address that it is sent to.
    :param upgrade: of a request: it asks for a WebSocket.
    """

    def __init__(self, fields: Iterable[Field] = (), host: bytes = b"", upgrade: bool = False) -> None:
        self.fields = tuple(fields)  # and nothing of what `Headers` keeps
        self.host = host
        self.upgrade = upgrade

    def __repr__(self) -> str:
        return f"Fields({self.fields!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.fields)

    def copy(self) -> Headers:
        """The same in a ``Headers``, which can be changed."""
        copied = Headers()
        for name, value in self.fields:
            copied.addRawHeader(name, value)
        return copied

    def hasHeader(self, name: AnyStr) -> bool:
        """Whether there is a field of that name."""
        return self.copy().hasHeader(name)

    def getRawHeaders(self, name: Any, default: Any = None) -> Any:
        """The values of that name; see ``Headers``."""
        return self.copy().getRawHeaders(name, default)

    def getAllRawHeaders(self) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        """Names, as ``Headers`` spells them, and values."""
        return self.copy().getAllRawHeaders()

    def setRawHeaders(self, name: str | bytes, values: Sequence[str | bytes]) -> None:
        """Not possible: work on a ``copy()``."""
        raise TypeError("these header fields are read-only: change a copy()")

    def addRawHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Not possible: work on a ``copy()``."""
        raise TypeError("these header fields are read-only: change a copy()")

    def removeHeader(self, name: str | bytes) -> None:
        """Not possible: work on a ``copy()``."""
        raise TypeError("these header fields are read-only: change a copy()")


def pairs(headers: Headers | None) -> tuple[Field, ...]:
    """The fields of any ``Headers``, one pair a value."""
    if headers is None:
        return ()
    if isinstance(headers, Fields):
        return headers.fields
    return tuple((name, value) for name, values in headers.getAllRawHeaders() for value in values)
