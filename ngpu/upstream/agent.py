"""An agent for replicas, in place of ``twisted.web.client.Agent``."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from ngpu.errors import BadRequest, DialFailed
from ngpu.upstream.headers import block, pairs, request_line
from ngpu.upstream.origin import Origin, origin_of
from ngpu.upstream.pool import Pool
from ngpu.upstream.upload import BodyProducer

_SCHEME = b"http://"
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
        :param headers: must hold neither Host nor framing fields; a ``Fields`` keeps order and case.
        :param bodyProducer: of known length.
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
        connection = self._pool.take(origin)
        while connection is not None:
            try:
                return connection.exchange(head, producer, head_only)
            except DialFailed:
                connection = self._pool.take(origin)  # it closed while it rested; nothing of ours had left
        return self._pool.dial(origin).addCallback(lambda dialled: dialled.exchange(head, producer, head_only))


def _head(method: bytes, uri: bytes, headers: Headers | None, producer: Any) -> tuple[Origin, bytes]:
    """Whom to ask, and the head of the request."""
    if not uri.startswith(_SCHEME):
        raise SchemeNotSupported(f"replicas are asked over http, not {uri[:16]!r}")
    slash = uri.find(b"/", len(_SCHEME))
    authority = uri[len(_SCHEME) :] if slash < 0 else uri[len(_SCHEME) : slash]
    line = request_line(method, b"/" if slash < 0 else uri[slash:])
    length = 0 if producer is None else producer.length
    if length is UNKNOWN_LENGTH:
        raise ValueError("a request's body needs a known length")
    framing = b"Content-Length: %d\r\n\r\n" % length if length or method in _EXPECT_A_BODY else b"\r\n"
    return origin_of(authority), b"".join((line, b"Host: ", authority, b"\r\n", block(pairs(headers)), framing))
