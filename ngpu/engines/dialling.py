"""Ways to a Docker daemon: its socket, a TCP port with or without TLS, or another machine's socket through ``ssh``.

Nothing here reads the environment: neither proxies nor the bundles of authorities that REQUESTS_CA_BUNDLE or
CURL_CA_BUNDLE name have a say in where a call goes, or in whom it trusts.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from typing import NamedTuple, Protocol

from ngpu.engines.reading import one_line

REMOTE_COMMAND = "docker system dial-stdio"
"""What runs on a machine that is reached through ssh: it passes on to the engine's socket there (Docker 18.09)."""

_KEEP_ALIVE = [
    (getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
]
"""A machine that has gone is noticed within a minute, also by who only listens (seconds, seconds, probes)."""


class Dialled(NamedTuple):
    """A connection, and the process that stands behind it."""

    stream: socket.socket
    process: subprocess.Popen[bytes] | None = None


class Way(Protocol):
    """How an engine is reached. ``where`` names it in messages."""

    where: str

    def dial(self, timeout: float) -> Dialled:
        """Connect; blocks.

        :raises OSError: there is no connection, or none that can be trusted.
        """


class UnixWay:
    """A socket of this machine."""

    def __init__(self, path: str) -> None:
        self.where = f"unix://{path}"
        self._path = path

    def dial(self, timeout: float) -> Dialled:
        """See `Way.dial`."""
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.settimeout(timeout)
            stream.connect(self._path)
        except BaseException:
            stream.close()
            raise
        return Dialled(stream)


class Identity(NamedTuple):
    """The files of mutual TLS: whom to trust, and who asks."""

    ca: str
    cert: str
    key: str

    def context(self) -> ssl.SSLContext:
        """What TLS connections are made with: those that ``ca`` vouches for, for the very name that was dialled.

        :raises OSError: a file cannot be read, or holds something else.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(self.ca)
        # a key with a passphrase must not make the process ask for it
        context.load_cert_chain(self.cert, self.key, password=lambda: "")
        return context


class TcpWay:
    """A port of a machine.

    :param identity: without one nothing is encrypted, and everybody on the way may command the engine.
    """

    def __init__(self, host: str, port: int, identity: Identity | None) -> None:
        self.where = f"tcp://{host}:{port}"
        self._host, self._port, self._identity = host, port, identity

    def dial(self, timeout: float) -> Dialled:
        """See `Way.dial`; the files are read anew, since certificates are renewed."""
        context = self._identity.context() if self._identity else None
        stream = socket.create_connection((self._host, self._port), timeout)
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEP_ALIVE:
                stream.setsockopt(socket.IPPROTO_TCP, option, value)
            return Dialled(context.wrap_socket(stream, server_hostname=self._host) if context else stream)
        except BaseException:
            stream.close()
            raise


class SshWay:
    """A machine's engine through the ``ssh`` command, with the operator's own configuration, keys and known hosts.

    It never asks for anything: a host that is not known, and a key that wants a passphrase, are refused.

    :param identity: the file of the private key; those that ssh finds itself by default.
    :param known_hosts: the file of known hosts; ssh's own by default.
    :param command: the program.
    """

    def __init__(
        self, user: str, host: str, port: int | None, identity: str = "", known_hosts: str = "", command: str = "ssh"
    ) -> None:
        self.where = f"ssh://{user + '@' if user else ''}{host}{f':{port}' if port else ''}"
        self._arguments = [command, "-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=15"]
        if identity:
            self._arguments += ["-i", identity, "-o", "IdentitiesOnly=yes"]
        if known_hosts:
            self._arguments += ["-o", f"UserKnownHostsFile={known_hosts}"]
        if port:
            self._arguments += ["-p", str(port)]
        if user:
            self._arguments += ["-l", user]
        self._target = ["--", host, REMOTE_COMMAND]

    def dial(self, timeout: float) -> Dialled:
        """See `Way.dial`; whether ssh gets there shows with the first answer."""
        ours, theirs = socket.socketpair()
        try:
            ours.settimeout(timeout)
            process = subprocess.Popen(
                [*self._arguments, "-o", f"ConnectTimeout={max(int(timeout), 1)}", *self._target],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=True,  # what is typed at the gateway's terminal is not meant for it
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Dialled(ours, process)


class Opened:
    """The connections of one client, so that another thread can end what blocks its own."""

    def __init__(self) -> None:
        self.said = ""
        """What the last process said before it ended."""
        self._lock = threading.Lock()
        self._streams: dict[socket.socket, socket.socket] = {}

    def add(self, dialled: Dialled) -> socket.socket:
        """Remember a connection by a handle of its own, which stays when TLS or a reader takes the first one."""
        handle = socket.fromfd(dialled.stream.fileno(), dialled.stream.family, socket.SOCK_STREAM)
        with self._lock:
            self._streams[handle] = dialled.stream
        return handle

    def forget(self, handle: socket.socket, process: subprocess.Popen[bytes] | None) -> None:
        """A connection was closed."""
        with self._lock:
            self._streams.pop(handle, None)
        handle.close()
        if process is not None:
            process.kill()
            assert process.stderr is not None
            os.set_blocking(process.stderr.fileno(), False)  # a master connection of ssh may go on, and keep it open
            self.said = one_line((process.stderr.read(4096) or b"").decode("utf-8", "replace"))
            process.stderr.close()
            process.wait()

    def be_patient(self) -> None:
        """Wait for ever for the next byte; in the client's own thread."""
        for stream in self._streams.values():
            stream.settimeout(None)

    def abort(self) -> None:
        """End all connections: whoever reads from one or writes to it fails at once."""
        with self._lock:
            for handle in self._streams:
                with suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)
