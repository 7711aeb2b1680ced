"""What is passed through as its maker made it: bodies of any length, requests and replies with all they say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from ngpu.model import ReplyHead, UpstreamRequest
from ngpu.thawed import thawed


class Stream(Protocol):
    """The bytes of a body while they come. A `ngpu.model.Body` is one, too."""

    @property
    def length(self) -> int | None:
        """How many bytes there will be; ``None`` where only the end will tell."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, in pieces, at the pace of whoever asks for them."""


@thawed
@dataclass(frozen=True, slots=True)
class PassedRequest(UpstreamRequest):
    """A request that a replica is to see as its client sent it.

    ``host`` is its Host field (b"": the replica's own address); ``added`` are fields of the gateway's, which the filter
    of header fields lets stand; ``upgrade`` asks for a WebSocket (RFC 6455 §4.1), whose bytes the body then is, without
    framing; ``expects`` that the body is not sent before the replica asks for it (RFC 9110 §10.1.1).
    """

    host: bytes = b""
    added: tuple[tuple[bytes, bytes], ...] = ()
    upgrade: bool = False
    expects: bool = False


@thawed
@dataclass(frozen=True, slots=True)
class PassedHead(ReplyHead):
    """A replica's head.

    ``length`` is what its Content-Length says, of HEAD too, ``None`` where it has none; ``whole`` says that all of the
    reply came with it.
    """

    length: int | None = None
    whole: bool = False
