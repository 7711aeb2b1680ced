"""What both clients know of sending: where to, how long, how often."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from ngpu.client.calls import Call, raw_path
from ngpu.client.values import ClientError, Refused, Unreachable

CONNECT = 5.0
"""Seconds to get a connection in."""

SHORTEST = 1.0
"""Seconds that a look has at least, however little of a caller's time is left."""

FIRST_PAUSE = 0.2
"""Seconds until a request is sent again; each further pause is twice as long."""

_PASSING = (429, 502, 503, 504)


class Sending(NamedTuple):
    """To one gateway: its URL, seconds to wait for a reply, how often to send again."""

    root: str
    timeout: float
    retries: int

    def request(self, call: Call[Any], until: float | None = None) -> dict[str, Any]:
        """The arguments of httpx's request.

        :param until: when the caller's time is over, on the monotonic clock.
        """
        patience = httpx.Timeout(None if call.patient else self.timeout, connect=CONNECT)
        if until is not None:
            left = max(SHORTEST, until - time.monotonic())
            patience = httpx.Timeout(min(self.timeout, left), connect=min(CONNECT, left))
        return {
            "method": call.method,
            "url": self.root + call.path,
            "params": dict(call.params),
            "headers": dict(call.headers),
            "content": call.content,
            "timeout": patience,
        }

    def raw(self, path: str, port: int | None) -> str:
        """The URL of a worker's path."""
        return self.root + raw_path(path, port)


def trust(root: str) -> dict[str, Any]:
    """Options of httpx's clients: over plain HTTP no authorities are loaded, which takes longer than most calls."""
    return {} if root.startswith("https") else {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}


@contextmanager
def surroundings() -> Iterator[None]:
    """Within this, httpx looks at what the environment says of proxies and of authorities.

    :raises ClientError: that cannot be used.
    """
    try:
        yield
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        why = f"the proxy or the authorities that the environment or an option names cannot be used: {error}"
        raise ClientError(why) from None


def again_after(call: Call[Any], retries: int) -> Iterator[float | None]:
    """For each try the pause after it; ``None`` after the last one."""
    if call.again:
        yield from (FIRST_PAUSE * 2**number for number in range(retries))
    yield None


def too_late(pause: float, until: float | None) -> bool:
    """Whether the caller's time is over after a pause; see `Sending.request`."""
    return until is not None and time.monotonic() + pause >= until


def lasting(error: Unreachable | Refused) -> bool:
    """Whether asking again later would change nothing."""
    return isinstance(error, Refused) and error.status not in _PASSING


def unreachable(root: str, error: Exception) -> Unreachable:
    """What httpx says, as a sentence."""
    if isinstance(error, httpx.TimeoutException):
        why = "no connection in time" if isinstance(error, httpx.ConnectTimeout) else "no reply in time"
    else:
        why = str(error) or type(error).__name__
    return Unreachable(f"no gateway answers at {root}: {why}")
