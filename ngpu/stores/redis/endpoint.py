"""How a Redis is reached: TCP, TLS, a Unix socket, or wherever the sentinels say its master is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from zope.interface import implementer

from ngpu.errors import ConfigError
from ngpu.stores.redis.address import Address, joined
from ngpu.stores.redis.wire import Lost, WireFactory, said

SENTINEL_TIMEOUT = 1.0
"""Seconds that one sentinel gets to answer before the next one is asked."""

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class NoMaster(Exception):
    """No sentinel could be asked, or none knows the master."""


def trusted(path: Path | None) -> Any:
    """The authorities of a PEM file, for ``optionsForClientTLS``; ``None``, the platform's, where there is no file.

    :raises ConfigError: it cannot be read, or holds no certificate.
    """
    if path is None:
        return None
    try:
        pems = _PEM.findall(path.read_text("utf-8"))
        if not pems:
            raise ConfigError("the file holds no certificate in PEM form", ("ca",))
        return trustRootFromCertificates([Certificate.loadPEM(pem) for pem in pems])
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", ("ca",)) from None
    except ConfigError:
        raise
    except Exception as error:  # OpenSSL's own, and UnicodeDecodeError
        raise ConfigError(f"the file holds a certificate that cannot be used: {error}", ("ca",)) from None


def endpoint_of(
    address: Address, reactor: Any, trust: Any, timeout: float, sentinel_password: str = ""
) -> IStreamClientEndpoint:
    """Where to connect to.

    :param trust: what `trusted` gave.
    :param timeout: seconds that connecting may take.
    """
    if address.sentinels:
        return SentinelEndpoint(address, reactor, trust, timeout, sentinel_password)
    if address.path:
        return UNIXClientEndpoint(reactor, address.path, timeout)
    plain = HostnameEndpoint(reactor, address.host, address.port, timeout)
    if not address.tls:
        return plain
    return wrapClientTLS(optionsForClientTLS(address.host, trustRoot=trust), plain)


@implementer(IStreamClientEndpoint)
class SentinelEndpoint:
    """Asks the sentinels, each time anew, where the master is; whether it is one, it has to say itself."""

    def __init__(self, address: Address, reactor: Any, trust: Any, timeout: float, password: str) -> None:
        self._address = address
        self._sentinels = list(address.sentinels)
        self._reactor = reactor
        self._trust = trust
        self._timeout = timeout
        self._password = password

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See ``IStreamClientEndpoint.connect``."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        host, port = await self._master()
        master = replace(self._address, host=host, port=port, sentinels=())
        return await endpoint_of(master, self._reactor, self._trust, self._timeout).connect(factory)

    async def _master(self) -> tuple[str, int]:
        """Host and port of the master, from the first sentinel that knows them; that one is asked first next time."""
        why = ""
        for sentinel in tuple(self._sentinels):
            try:
                found = await Deferred.fromCoroutine(self._ask(*sentinel)).addTimeout(SENTINEL_TIMEOUT, self._reactor)
            except defer.TimeoutError:
                why = f"the sentinel at {joined(*sentinel)} gave no answer in {SENTINEL_TIMEOUT:g} s"
            except Exception as error:
                why = f"the sentinel at {joined(*sentinel)}: {said(error)}"
            else:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return found
        raise NoMaster(why)

    async def _ask(self, host: str, port: int) -> tuple[str, int]:
        wire: Any = await HostnameEndpoint(self._reactor, host, port, SENTINEL_TIMEOUT).connect(WireFactory())
        try:
            if self._password:
                await wire.execute_command("AUTH", self._password)
            found = await wire.execute_command("SENTINEL", "get-master-addr-by-name", self._address.host)
        finally:
            wire.cut()
        if not found:
            raise Lost(f"it watches no master that is called {self._address.host}")
        return found[0].decode("ascii"), int(found[1])
