"""Pure: the fields of a reply's HEADERS frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpack import NeverIndexedHeaderTuple

from ngpu.http.server.reply import check_field

_CONNECTION = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"content-length")
)
"""What HTTP/2 has no place for, and the length, which is said once."""

_SECRET = (b"set-cookie",)
"""What is not remembered between replies, so that nobody learns it from their sizes (RFC 7541 §7.1)."""

_OURS = _CONNECTION | {b"date", b"server"}


def reply_fields(
    status: int, fields: Iterable[tuple[bytes, Sequence[bytes]]], length: int | None, date: bytes
) -> list[tuple[bytes, bytes]]:
    """The fields of a reply of ours.

    :raises ValueError: a status that is none, or a field that holds control characters.
    """
    made = _begun(status, length)
    made += [(b"server", b"ngpu"), (b"date", date)]
    for name, values in fields:
        key = name.lower()
        if key not in _OURS:
            made += [_field(key, value) for value in values]
    return made


def passed_fields(
    status: int, fields: Iterable[tuple[bytes, bytes]], length: int | None, date: bytes
) -> list[tuple[bytes, bytes]]:
    """The same for a reply that another server made: its fields in their order, and a date only where it has none.

    :raises ValueError: a status that is none, or a field that holds control characters.
    """
    made = _begun(status, length)
    dated = False
    for name, value in fields:
        key = name.lower()
        dated = dated or key == b"date"
        if key not in _CONNECTION:
            made.append(_field(key, value))
    if not dated:
        made.append((b"date", date))
    return made


def size_of(fields: Iterable[tuple[bytes, bytes]]) -> int:
    """How many bytes they have, before they are packed."""
    return sum(len(name) + len(value) for name, value in fields)


def _begun(status: int, length: int | None) -> list[tuple[bytes, bytes]]:
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is no status of a final reply")
    made = [(b":status", b"%d" % status)]
    if length is not None:
        made.append((b"content-length", b"%d" % length))
    return made


def _field(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    check_field(name, value)
    field = name, value.strip(b" \t")
    return NeverIndexedHeaderTuple(*field) if name in _SECRET else field
