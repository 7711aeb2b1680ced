"""How much one client may ask of the server: sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The server's limits.

    ``head_timeout`` counts from the connect for the first head, from its first byte for later ones. ``body_rate`` is
    bytes a second, averaged over ``body_window`` seconds in which the gateway wanted bytes. ``write_timeout`` is how
    long a client may leave a pending reply without taking a byte of it. ``linger_time`` and ``linger_size`` bound what
    is still read and dropped after a reply that closes the connection, so that the client gets the reply and not a
    reset (RFC 9112 §9.6). ``pipeline_size`` bounds what is read ahead of the request that is being served.
    ``http2`` lets clients speak HTTP/2 that ask for it.
    """

    head_timeout: float = 10.0
    head_size: int = 64 * 1024
    header_count: int = 100
    target_size: int = 8 * 1024
    query_parts: int = 1000
    idle_timeout: float = 75.0
    body_rate: int = 1024
    body_window: float = 30.0
    connections: int = 10_000
    write_timeout: float = 60.0
    linger_time: float = 2.0
    linger_size: int = 16 * 1024 * 1024
    pipeline_size: int = 64 * 1024
    http2: bool = True

    @property
    def tick(self) -> float:
        """How often the connections are looked over for times that have run out, so how late one may be noticed."""
        times = (self.head_timeout, self.idle_timeout, self.body_window, self.write_timeout, self.linger_time)
        return min(1.0, min(times) / 4)
