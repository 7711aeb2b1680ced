"""What a worker is told of its client: X-Forwarded-For, -Host, -Proto and -Prefix."""

from __future__ import annotations

from ngpu.http.call import Call

_PROTOCOLS = (b"http", b"https")


def added_fields(call: Call, prefix: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The fields that a worker gets in place of those that its client may have sent.

    From a trusted proxy its words are taken: the addresses that it names stay, with its own behind them, and so do its
    host and protocol. What anybody else claims is dropped.

    :param prefix: what was taken off the path.
    """
    request = call.request
    told = call.from_trusted_proxy
    chain = [hop for value in _sent(call, b"x-forwarded-for") for hop in value.split(b",")] if told else []
    hops = [*(hop.strip() for hop in chain), request.peer_ip.encode("ascii", "replace")]
    protocols = _sent(call, b"x-forwarded-proto") if told else []
    hosts = _sent(call, b"x-forwarded-host") if told else []
    protocol = protocols[0] if len(protocols) == 1 and protocols[0] in _PROTOCOLS else None
    if protocol is None:
        protocol = b"https" if request.channel.isSecure() else b"http"
    host = hosts[0] if len(hosts) == 1 else request.getHeader(b"host")
    fields = [(b"X-Forwarded-For", b", ".join(hop for hop in hops if hop)), (b"X-Forwarded-Proto", protocol)]
    if host:
        fields.append((b"X-Forwarded-Host", host))
    if prefix:
        fields.append((b"X-Forwarded-Prefix", prefix))
    return tuple(field for field in fields if field[1])


def _sent(call: Call, name: bytes) -> list[bytes]:
    return list(call.request.head.named.get(name, ()))
