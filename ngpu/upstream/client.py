"""treq without what a gateway must not do."""

from __future__ import annotations

from typing import Any

from treq.client import HTTPClient
from treq.response import _Response
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer

from ngpu.model import BytesBody
from ngpu.upstream.upload import BodyProducer


class UpstreamClient(HTTPClient):
    """A ``treq.client.HTTPClient`` whose requests reach the agent, and whose replies the caller, as they are.

    Stock treq wraps the agent anew for each request: in a cookie jar that tenants would share, in a decoder that adds
    Accept-Encoding and unpacks bombs, in a redirect follower, and buffers the body. None of that is here, and asking
    for it is a TypeError, not something silently left out.
    """

    def __init__(self, agent: IAgent) -> None:
        super().__init__(agent, data_to_body_producer=body_producer)

    def request(  # type: ignore[override]  # fewer options, on purpose
        self,
        method: str,
        url: str | bytes,
        *,
        headers: Headers | None = None,
        data: Any = None,
        allow_redirects: bool = False,
        unbuffered: bool = True,
        _stacklevel: int = 0,
        **options: Any,
    ) -> Deferred[_Response]:
        """See ``treq.request``; ``method`` and ``url`` are sent byte for byte.

        :param data: a ``ngpu.model.Body``, ``bytes`` or an IBodyProducer of known length.
        """
        if options or allow_redirects or not unbuffered:
            raise TypeError("a gateway's client follows, decodes, buffers and keeps nothing, and takes no such options")
        return self._agent.request(
            _octets(method),
            _octets(url),
            headers,
            None if data is None else self._data_to_body_producer(data),
        ).addCallback(_Response, self._cookiejar)


def _octets(text: str | bytes) -> bytes:
    """What to put on the wire; bytes that do not belong there are refused by the agent, in one place."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def body_producer(data: Any) -> IBodyProducer:
    """Whatever holds a body, as an IBodyProducer."""
    if isinstance(data, bytes):
        data = BytesBody(data)
    return BodyProducer(data) if hasattr(data, "chunks") else data
