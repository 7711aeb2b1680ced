"""Container engine ``docker``: a Docker daemon, at its socket, over TLS, or through ssh."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from ngpu import options as read
from ngpu.errors import ConfigError
from ngpu.interfaces import Option, PluginContext
from ngpu.plugin import Factory

log = Logger("ngpu.engine")

OPTIONS = (
    Option("url", "where the engine is: nodes[].engine without the plugin's name", None, "URL"),
    Option("ca", "of tcp: who vouches for the engine", None, "file"),
    Option("cert", "of tcp: the certificate that the gateway shows", None, "file"),
    Option("key", "of tcp: its private key", None, "file"),
    Option("identity", "of ssh: the private key; by default those that ssh finds", None, "file"),
    Option("known_hosts", "of ssh: the known hosts; by default those of ssh", None, "file"),
    Option("timeout", "how long a call may take; pulls, loads and logs have no end of their own", "10s", "duration"),
    Option("stall", "how long a pull or a load may say nothing", "5m", "duration"),
    Option("init", "whether a small init stands over each command; off for images with their own, such as s6", True),
    Option("gpu_driver", "the driver that is asked for GPUs", "nvidia"),
    Option("publish_ip", "the machine's address on which ports are published", "what its Docker does", "address"),
)

_URL = re.compile(
    r"unix://(?P<path>/\S+)|(?P<scheme>tcp|ssh)://((?P<user>[^\s:/@]+)@)?(?P<host>[^\s:/@]+)(:(?P<port>[0-9]{1,5}))?/?"
)


def _make(options: Mapping[str, Any], context: PluginContext) -> Any:
    # here, since the SDK takes a while to import and most commands have no engine
    from ngpu.engines.daemon import Daemon
    from ngpu.engines.docker import DockerEngine
    from ngpu.engines.making import Manner

    manner = Manner(
        _truth(options, "init", True), _word(options, "gpu_driver", "nvidia"), _word(options, "publish_ip", "")
    )
    timeout, stall = read.duration(options, "timeout", "10s", 600), read.duration(options, "stall", "5m", 86400)
    return DockerEngine(Daemon(way(options, context.folder), context.clock, timeout, stall), manner)


def way(options: Mapping[str, Any], folder: str) -> Any:
    """How the engine of a block's options is reached.

    :raises ConfigError: with the path of the option that is wrong.
    """
    from ngpu.engines.dialling import Identity, SshWay, TcpWay, UnixWay

    url = options.get("url")
    if url is None:
        raise ConfigError("url is missing: where the engine is, such as unix:///run/docker.sock")
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        raise ConfigError("must be unix:///run/docker.sock, tcp://host:2376 or ssh://user@host", ("url",))
    files = {name: _file(options, name, folder) for name in ("ca", "cert", "key", "identity", "known_hosts")}
    meant = {"tcp": ("ca", "cert", "key"), "ssh": ("identity", "known_hosts")}.get(found["scheme"], ())
    for name, file in files.items():
        if file and name not in meant:
            raise ConfigError(f"has no meaning for an engine at {url}", (name,))
    if found["path"]:
        return UnixWay(found["path"])
    if found["scheme"] == "ssh":
        port = int(found["port"]) if found["port"] else None
        return SshWay(found["user"] or "", found["host"], port, files["identity"], files["known_hosts"])
    return TcpWay(found["host"], _tcp_port(found), _identity(files, url, Identity))


def _tcp_port(found: re.Match[str]) -> int:
    if found["user"] or not found["port"]:
        raise ConfigError("must be tcp://host:port", ("url",))
    return int(found["port"])


def _identity(files: Mapping[str, str], url: str, make: Any) -> Any:
    """What TLS needs, tried at once, so that a wrong file shows at the start."""
    if not any(files.values()):
        log.warn(
            "the engine at {url} is asked without TLS: whoever can read or change what passes on the way commands its "
            "machine; give the node tls: {{ca, cert, key}}",
            url=url,
        )
        return None
    for name in ("ca", "cert", "key"):
        if not files[name]:
            raise ConfigError(f"{name} is missing: TLS needs ca, cert and key")
    identity = make(files["ca"], files["cert"], files["key"])
    try:
        identity.context()
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "they do not fit together"
        raise ConfigError(f"ca, cert and key cannot be used for TLS: {why}", ("key",)) from None
    return identity


def _file(options: Mapping[str, Any], name: str, folder: str) -> str:
    value = options.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError("must be the path of a file", (name,))
    path = Path(folder, value)
    try:
        with path.open("rb"):
            return str(path)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", (name,)) from None


def _truth(options: Mapping[str, Any], name: str, default: bool) -> bool:
    value = options.get(name, default)
    if not isinstance(value, bool):
        raise ConfigError("must be true or false", (name,))
    return value


def _word(options: Mapping[str, Any], name: str, default: str) -> str:
    value = options.get(name, default)
    if not isinstance(value, str) or (value and not re.fullmatch(r"[A-Za-z0-9_.:/-]{1,100}", value)):
        raise ConfigError("must be a word", (name,))
    return value


docker = Factory("engine", "docker", "A Docker daemon: at its socket, over TLS, or through ssh.", _make, OPTIONS)
