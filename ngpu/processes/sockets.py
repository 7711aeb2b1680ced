"""Listening sockets that outlive the process that bound them, or are shared by several."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.python.lockfile import FilesystemLock

from ngpu.certificates import Certificates, tls_listener
from ngpu.errors import NgpuError

BACKLOG = 4096
"""Connections that may wait in a socket while nobody accepts them; the kernel's ``net.core.somaxconn`` may be less."""


class Sockets:
    """The listening sockets of a process, by endpoint description: handed to it, or bound by it.

    What a description says of TLS makes no other socket of it.

    :param handed: file descriptors that it was handed.
    :param shared: other processes accept from the same sockets, and whoever handed them removes their files.
    :ivar certificates: those of the listeners with TLS.
    """

    def __init__(self, reactor: Any, handed: Mapping[str, int], shared: bool) -> None:
        self.certificates = Certificates(reactor)
        self._reactor = reactor
        self._handed = {_below(description): descriptor for description, descriptor in handed.items()}
        self._shared = shared
        self._ports: dict[str, Any] = {}

    async def listen(self, description: str, factory: Factory[Any]) -> None:
        """Begin to listen; with the socket that was handed over, or held, where there is one.

        :raises NgpuError: it cannot; others are as they were.
        """
        tls = tls_listener(description)
        if tls is not None:
            certificate = self.certificates.of(tls.files)
            factory = TLSMemoryBIOFactory(certificate, False, factory, self._reactor)
        await self._listen(_below(description), factory)

    async def _listen(self, description: str, factory: Factory[Any]) -> None:
        held = self._ports.get(description)
        handed = self._handed.pop(description, None) if held is None else os.dup(held.fileno())
        reactor = self._reactor if handed is None else _Adopting(self._reactor, handed, self._shared)
        try:
            if handed is not None and description.startswith("systemd:"):
                self._ports[description] = reactor.adopt(factory)
            else:
                port: Any = await serverFromString(reactor, description).listen(factory)
                self._ports[description] = port
                if "backlog=" not in description and hasattr(port, "socket"):
                    port.socket.listen(BACKLOG)  # Twisted's 50 are less than one burst: others wait for a second
        except CannotListenError as error:
            raise NgpuError(f"cannot listen on {description}: {error.socketError}") from None
        except OSError as error:
            raise NgpuError(f"cannot listen on {description}: {error}") from None

    async def hold(self, description: str) -> None:
        """Listen, but let connections wait: others accept them, or somebody will later.

        :raises NgpuError: see `listen`.
        """
        description = _below(description)
        if description not in self._ports:
            await self._listen(description, _Nobody())
        self._wait(description)

    def pause(self) -> None:
        """Accept nothing more for the time being."""
        for description in self._ports:
            self._wait(description)

    def __contains__(self, description: str) -> bool:
        return _below(description) in self._ports

    def descriptors(self, *wanted: str) -> dict[str, int]:
        """The file descriptors, by endpoint description: to be handed on. Those that are wanted, or all."""
        chosen = {_below(each) for each in wanted} if wanted else self._ports.keys()
        return {description: port.fileno() for description, port in self._ports.items() if description in chosen}

    async def close(self, *kept: str) -> None:
        """Stop listening, except on those. What another process holds too goes on there."""
        left = {_below(each) for each in kept}
        for description in [each for each in self._ports if each not in left]:
            port = self._ports.pop(description)
            port._shouldShutdown = False  # which would end it for other processes, too
            stopped = port.stopListening()
            if stopped is not None:
                await stopped

    def _wait(self, description: str) -> None:
        port = self._ports[description]
        try:
            port.socket.listen(BACKLOG)
            port.stopReading()
        except AttributeError:
            raise NgpuError(f"{description} has no socket that several processes can share") from None


def _below(description: str) -> str:
    """The description of the endpoint below TLS."""
    tls = tls_listener(description)
    return description if tls is None else tls.plain


class _Nobody(Factory[Any]):
    noisy = False


class _Adopting:
    """A reactor that listens on one socket that is there already, whatever address it is told."""

    def __init__(self, reactor: Any, descriptor: int, shared: bool) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._shared = shared

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Factory[Any], backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorTCP.listenTCP`."""
        return self.adopt(factory)

    def listenSSL(
        self, port: int, factory: Factory[Any], contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        """See `IReactorSSL.listenSSL`."""
        return self.adopt(TLSMemoryBIOFactory(contextFactory, False, factory))

    def listenUNIX(self, address: Any, factory: Factory[Any], *rest: Any, **more: Any) -> Any:
        """See `IReactorUNIX.listenUNIX`."""
        return self.adopt(factory)

    def adopt(self, factory: Any) -> Any:
        """The port of the socket."""
        with socket.socket(fileno=self._descriptor) as adopted:  # the port has a descriptor of its own
            adopted.setblocking(False)
            kind: Any = _UnixPort if adopted.family == socket.AF_UNIX else _TcpPort
            if kind is _UnixPort:
                port = kind._fromListeningDescriptor(self._reactor, adopted.fileno(), factory)  # type: ignore[no-untyped-call]
                port.removes_file = not self._shared
            else:
                port = kind._fromListeningDescriptor(self._reactor, adopted.fileno(), adopted.family, factory)
        port.one_by_one = self._shared
        port.startListening()
        return port


class _OneByOne:
    """Takes one connection a turn where others listen too, so that whoever is less busy gets more of them."""

    one_by_one = False
    numberAccepts: int

    def doRead(self) -> None:
        if self.one_by_one:
            self.numberAccepts = 1
        super().doRead()  # type: ignore[misc]


class _TcpPort(_OneByOne, tcp.Port):
    pass


class _UnixPort(_OneByOne, unix.Port):
    """Twisted's own would change the file's mode, and remove it under those who listen on."""

    removes_file = False

    def startListening(self) -> None:
        """Begin to accept."""
        assert self.factory is not None
        self.factory.doStart()
        adopted: Any = self._preexistingSocket
        self.socket, self._preexistingSocket = adopted, None
        self.fileno = adopted.fileno  # type: ignore[method-assign]
        self.connected = True
        self.numberAccepts = 100
        self.startReading()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        """The end; its file goes where nobody else has it."""
        path = self._bindPath
        if self.removes_file and path and not path.startswith(b"\0"):
            with suppress(OSError):
                os.unlink(path)
            with suppress(OSError, ValueError):  # there is none, or it is not this process's
                FilesystemLock(os.fsdecode(path) + ".lock").unlock()
        tcp.Port.connectionLost(self, reason)
