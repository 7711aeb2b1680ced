"""From what a route returns, or raises, to bytes on the connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from ngpu.errors import (
    BadSettings,
    MethodNotAllowed,
    NgpuError,
    OverLimit,
    QueueFull,
    TooManyTries,
    Unauthorized,
    Unavailable,
)
from ngpu.http.pace import Pace
from ngpu.http.server import NgpuRequest
from ngpu.limits import Allowance
from ngpu.model import CHUNK
from ngpu.wire.codes import status_of
from ngpu.wire.replies import failure
from ngpu.wire.stream import compose, pieces_of

log = Logger("ngpu.http")


MOST_PROBLEMS = 100
"""So many of the problems of settings are told at once."""


@dataclass(frozen=True)
class Reply:
    """A JSON document (see `ngpu.wire.stream.render`), or bytes as they are, with status and further header fields.

    A document that comes piece by piece is sent as it comes, each piece at once.
    """

    document: Mapping[str, Any] | bytes | AsyncGenerator[bytes, None]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


async def answer(request: NgpuRequest, route: Awaitable[Reply]) -> bytes | None:
    """Run a route and send what it returns; for Klein, which finishes the request afterwards.

    Whatever was raised on purpose becomes its status of `ngpu.wire.codes`, anything else a 500 that tells the client
    nothing and the log all.
    """
    try:
        reply = await route
    except NgpuError as error:
        if client_gone(request):
            raise CancelledError from None
        reply = refusal(error)
    except CancelledError:
        if client_gone(request):
            raise
        reply = refusal(Unavailable("the gateway is stopping, and this call with it; try again"))
    except Exception:
        log.failure("a request failed", path=request.path)
        reply = Reply(failure(500, "the gateway failed at this request; its log says why"), 500)
    try:
        return await send(request, reply)
    except NgpuError as error:  # what it tells of cannot be read, and nothing is sent yet
        if client_gone(request):
            raise CancelledError from None
        return await send(request, refusal(error))


def refusal(error: NgpuError) -> Reply:
    """The reply that tells of an error."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, QueueFull | OverLimit | TooManyTries | Unavailable):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, OverLimit):
        headers |= limit_fields(error.standing)
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="ngpu"'
    document = failure(status, str(error))
    if isinstance(error, BadSettings):
        told = error.problems[:MOST_PROBLEMS]
        document["problems"] = [{"path": path, "message": message} for path, message in told]
    return Reply(document, status, headers)


def limit_fields(standing: Sequence[Allowance]) -> dict[str, str]:
    """How a workspace's limits stand, as header fields of draft-ietf-httpapi-ratelimit-headers-10."""
    if not standing:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{each.name}";q={each.limit};w={each.window}' for each in standing),
        "RateLimit": ", ".join(f'"{each.name}";r={each.left};t={each.reset}' for each in standing),
    }


async def send(request: NgpuRequest, reply: Reply) -> bytes | None:
    """Begin the reply; a small one is returned whole, a large one is written at the client's pace.

    :raises NgpuError: its document cannot be had, and nothing is sent.
    """
    fields = _JSON if not reply.headers else _fields_of(reply.headers)
    document = reply.document
    if not isinstance(document, bytes | dict) and isinstance(document, AsyncGenerator):
        request.pass_on(reply.status, fields, None)
        async with aclosing(document) as live:
            await _stream(request, b"", live)
        return None
    if not isinstance(document, bytes):
        parts = compose(document)
        if len(parts) != 1 or not isinstance(parts[0], bytes):
            pieces, beginning = pieces_of(parts), bytearray()
            async for piece in pieces:
                beginning += piece
                if len(beginning) > CHUNK:
                    request.pass_on(reply.status, fields, None)
                    await _stream(request, bytes(beginning), pieces)
                    return None
            document = bytes(beginning)
        else:
            document = parts[0]
    request.pass_on(reply.status, fields, len(document), whole=True)
    return document


def _fields_of(headers: Mapping[str, str]) -> Sequence[tuple[bytes, bytes]]:
    named = {"Server": "ngpu", "Content-Type": "application/json", **headers}
    return [(name.encode(), value.encode("latin-1", "replace")) for name, value in named.items()]


_JSON = _fields_of({})


def client_gone(request: NgpuRequest) -> bool:
    """Whether nobody is there any more to take a reply."""
    return bool(request._disconnected)


async def _stream(request: NgpuRequest, beginning: bytes, rest: AsyncIterator[bytes]) -> None:
    pace = Pace()
    request.registerProducer(pace, True)
    try:
        if beginning:
            request.write(beginning)
        async for piece in rest:
            if pace.gate is not None:
                await pace.gate
            request.write(piece)
    except NgpuError as error:
        log.error("a reply broke off: {error}", error=str(error))
        request.cut()
    finally:
        if not client_gone(request):
            request.unregisterProducer()
