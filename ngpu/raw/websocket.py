"""The opening handshake of WebSockets (RFC 6455 §4), as far as somebody in the middle has to know it. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable

from ngpu.errors import BadReply, BadRequest
from ngpu.model import ReplyHead

Fields = Iterable[tuple[bytes, bytes]]

SWITCHED = 101
"""The status of a reply that begins a WebSocket."""

_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def asked_for(method: bytes, version: bytes, fields: Fields, has_body: bool) -> bytes | None:
    """The key of a request that asks for a WebSocket; ``None`` for any other.

    Upgrades to anything else, such as ``h2c``, are not made, and such a request is one like any other (RFC 9110 §7.8).

    :raises BadRequest: it asks for one in a way in which nobody may.
    """
    said: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        said.setdefault(name.lower(), []).append(value.strip(b" \t"))
    options = {option.strip(b" \t").lower() for value in said.get(b"connection", ()) for option in value.split(b",")}
    wanted = [token.strip(b" \t").lower() for value in said.get(b"upgrade", ()) for token in value.split(b",")]
    if b"upgrade" not in options or b"websocket" not in wanted or version != b"HTTP/1.1":
        return None
    keys = said.get(b"sec-websocket-key", [])
    if wanted != [b"websocket"]:
        raise BadRequest("ask for an upgrade to websocket alone")
    if method != b"GET" or has_body:
        raise BadRequest("a WebSocket begins with a GET without a body (RFC 6455 §4.1)")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise BadRequest("a WebSocket needs one Sec-WebSocket-Key, 16 bytes in base64 (RFC 6455 §4.1)")
    return keys[0]


def check_accepted(head: ReplyHead, key: bytes) -> None:
    """See that who switched is a WebSocket server, which has read this very request.

    :raises BadReply: it is not.
    """
    accepts = [value for name, value in head.headers if name.lower() == b"sec-websocket-accept"]
    if accepts != [base64.b64encode(hashlib.sha1(key + _SALT, usedforsecurity=False).digest())]:
        raise BadReply("the replica switched to WebSocket with the wrong Sec-WebSocket-Accept")


def _is_key(text: bytes) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
