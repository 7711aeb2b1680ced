"""A request that the server answers by itself, and the one shape of all error replies (wire contract §1)."""

from __future__ import annotations

import json

from twisted.web.http import RESPONSES


class Refused(Exception):
    """These bytes are no request that may be served; the connection ends with this status.

    :param msg: a sentence for whoever wrote the client. It never repeats the client's bytes.
    """

    def __init__(self, status: int, msg: str) -> None:
        super().__init__(msg)
        self.status = status
        self.msg = msg


def error_body(status: int, msg: str) -> bytes:
    """The body of an error reply: ``{"result_code": <status>, "msg": "<sentence>"}``, ASCII only."""
    return json.dumps({"result_code": status, "msg": msg}).encode("ascii")


def reason_phrase(status: int) -> bytes:
    """The registered reason phrase, or an empty one (RFC 9112 §4 allows that)."""
    return bytes(RESPONSES.get(status, b""))


def plain_error(status: int, msg: str, date: bytes, allow: bytes = b"") -> bytes:
    """A whole error reply that ends its connection, for where there is no Request to write it.

    :param date: the ``Date`` field's value (RFC 9110 §6.6.1).
    :param allow: the ``Allow`` field of a 405 (RFC 9110 §15.5.6).
    """
    body = error_body(status, msg)
    return b"".join(
        (
            b"HTTP/1.1 %d %b\r\nServer: ngpu\r\nDate: %b\r\n" % (status, reason_phrase(status), date),
            b"Allow: %b\r\n" % allow if allow else b"",
            b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body),
            body,
        )
    )
