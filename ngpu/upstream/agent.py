"""An agent for replicas, in place of ``twisted.web.client.Agent``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from ngpu.errors import BadRequest, DialFailed
from ngpu.upstream.headers import Fields, block, pairs, request_line
from ngpu.upstream.origin import Origin, origin_of
from ngpu.upstream.pool import Pool
from ngpu.upstream.upload import BodyProducer

_SCHEME = b"http://"
_KEPT = 256
"""Bytes of a URI at most for what was read of it to be kept: most calls of a workspace go to one."""

_EXPECT_A_BODY = frozenset({b"POST", b"PUT", b"PATCH"})


@implementer(IAgent)
class UpstreamAgent:
    """Sends requests exactly as they are given, plus Host and one framing field.

    It follows nothing, decodes nothing, remembers nothing but connections, reads no environment and adds no field of
    its own. Replies are instances of ``ngpu.upstream.response.Response``.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See ``IAgent``.

        :param uri: ``http://host:port`` and the target, which goes out byte for byte.
        :param headers: must hold neither Host nor framing fields; a ``Fields`` keeps order and case, and may say what
            Host is, and that a WebSocket is asked for: then 101 is a reply, and both bodies go on until one closes.
        :param bodyProducer: one of unknown length goes out chunked.
        :raises BadRequest: a method, target or field that cannot stand on the wire.
        :raises SchemeNotSupported: not ``http``.
        :raises DialFailed: no byte was sent.
        :raises CallCut: the connection broke after that; also for a body that is not as long as it said.
        :raises BadReply: the reply breaks RFC 9112 or a limit.
        """
        try:
            origin, head = _head(method, uri, headers, bodyProducer)
        except (BadRequest, SchemeNotSupported, ValueError):
            return fail()
        producer: Any = bodyProducer
        if isinstance(producer, BodyProducer) and producer.whole is not None:
            head += producer.whole
            producer = None
        head_only = method == b"HEAD"
        switches = isinstance(headers, Fields) and headers.upgrade
        connection = self._pool.take(origin)
        while connection is not None:
            try:
                return connection.exchange(head, producer, head_only, switches)
            except DialFailed:
                connection = self._pool.take(origin)  # it closed while it rested; nothing of ours had left
        return self._pool.dial(origin).addCallback(
            lambda dialled: dialled.exchange(head, producer, head_only, switches)
        )


def _head(method: bytes, uri: bytes, headers: Headers | None, producer: Any) -> tuple[Origin, bytes]:
    """Whom to ask, and the head of the request."""
    parse = _parsed if len(uri) <= _KEPT else _parsed.__wrapped__
    origin, authority, line = parse(method, uri)
    if isinstance(headers, Fields):
        fields = block(((b"Host", headers.host or authority), *headers.fields))
        return origin, b"".join((line, fields, _framing(method, producer, headers.upgrade)))
    return origin, b"".join((line, block(((b"Host", authority), *pairs(headers))), _framing(method, producer, False)))


@lru_cache(maxsize=1024)
def _parsed(method: bytes, uri: bytes) -> tuple[Origin, bytes, bytes]:
    """Whom to ask, as it stands in Host, and the request line."""
    if not uri.startswith(_SCHEME):
        raise SchemeNotSupported(f"replicas are asked over http, not {uri[:16]!r}")
    slash = uri.find(b"/", len(_SCHEME))
    authority = uri[len(_SCHEME) :] if slash < 0 else uri[len(_SCHEME) : slash]
    return origin_of(authority), authority, request_line(method, b"/" if slash < 0 else uri[slash:])


def _framing(method: bytes, producer: Any, upgrade: bool) -> bytes:
    """The fields about the connection, and the end of the head."""
    if upgrade:
        return b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    length = 0 if producer is None else producer.length
    if length is UNKNOWN_LENGTH:
        framing = b"Transfer-Encoding: chunked\r\n"
    else:
        framing = b"Content-Length: %d\r\n" % length if length or method in _EXPECT_A_BODY else b""
    return framing + (b"Expect: 100-continue\r\n\r\n" if getattr(producer, "expects", False) else b"\r\n")
