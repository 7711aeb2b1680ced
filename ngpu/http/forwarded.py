"""What a worker is told of its client: X-Forwarded-For, -Host, -Proto and -Prefix."""

from __future__ import annotations

from functools import lru_cache

from ngpu.http.call import Call

_PROTOCOLS = (b"http", b"https")


def added_fields(call: Call, prefix: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The fields that a worker gets in place of those that its client may have sent.

    From a trusted proxy its words are taken: the addresses that it names stay, with its own behind them, and so do its
    host and protocol. What anybody else claims is dropped.

    :param prefix: what was taken off the path.
    """
    request = call.request
    protocol = b"https" if request.channel.isSecure() else b"http"
    host = request.getHeader(b"host") or b""
    peer = request.peer_ip.encode("ascii", "replace")
    if not call.from_trusted_proxy:
        return _fields(peer, protocol, host, prefix)
    hops = [hop.strip() for value in _sent(call, b"x-forwarded-for") for hop in value.split(b",")]
    protocols, hosts = _sent(call, b"x-forwarded-proto"), _sent(call, b"x-forwarded-host")
    if len(protocols) == 1 and protocols[0] in _PROTOCOLS:
        protocol = protocols[0]
    if len(hosts) == 1:
        host = hosts[0]
    return _fields(b", ".join([hop for hop in (*hops, peer) if hop]), protocol, host, prefix)


@lru_cache(maxsize=256)
def _fields(path: bytes, protocol: bytes, host: bytes, prefix: bytes) -> tuple[tuple[bytes, bytes], ...]:
    fields = (
        (b"X-Forwarded-For", path),
        (b"X-Forwarded-Proto", protocol),
        (b"X-Forwarded-Host", host),
        (b"X-Forwarded-Prefix", prefix),
    )
    return tuple([field for field in fields if field[1]])


def _sent(call: Call, name: bytes) -> list[bytes]:
    return list(call.request.head.named.get(name, ()))
