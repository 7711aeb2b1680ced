"""Docker engines and a registry of a test's own: real daemons that are started, hung, cut off and ended from outside.

Each daemon is the child of the first process of a PID namespace of its own: when that one ends, however it does, the
kernel ends the daemon, its containerd and all of its containers with it, and their mounts go too. Daemons live in the
host's network, with a bridge each and without iptables (mode ``proxy``), or as machines of their own in network
namespaces that are joined by a switch (mode ``netns``), where a Swarm works.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from docker_engine import SYSTEM_PATH, Certificates, Engine, run
from docker_registry import Registry
from processes import find_free_port

NEEDED = ("dockerd", "docker", "containerd", "docker-proxy", "docker-init", "docker-registry", "openssl", "busybox")
NEEDED += ("ip", "unshare", "nsenter", "setpriv")


def missing() -> str:
    """Why no bed can be made here; "" where one can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "engines need Linux and root"
    gone = [command for command in NEEDED if shutil.which(command, path=SYSTEM_PATH) is None]
    return f"not installed: {', '.join(gone)} (make test installs them with apt)" if gone else ""


def bed_or_skip() -> None:
    """Skip the test where no bed can be made; fail it where continuous integration promises one.

    :raises AssertionError: under ``CI``.
    """
    why = missing()
    if why:
        assert not os.environ.get("CI"), f"tests of real engines cannot run: {why}"
        print(f"\n*** Tests of real engines are skipped: {why}", file=sys.__stderr__)
        pytest.skip(f"no Docker engines: {why}")


class Bed:
    """Engines and a registry. ``registry.host`` is how references name it."""

    def __init__(self, folder: Path, engines: list[Engine], registry: Registry) -> None:
        self.folder, self.engines, self.registry = folder, engines, registry


@contextmanager
def docker_bed(
    engines: int = 1, mode: str = "proxy", tls: bool = True, disk: str = "", arguments: Sequence[str] = ()
) -> Iterator[Bed]:
    """Engines and a registry that end with the block, whatever happens in it.

    :param mode: ``proxy`` or ``netns``.
    :param tls: whether the engines' ports speak mutual TLS.
    :param disk: see `Engine`.
    :param arguments: more of them for each daemon.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="ngpu-bed-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        net = f"10.{_free_octet()}"
        tag = f"ng{random.randrange(1 << 20):05x}"
        numbers = range(1, engines + 1)
        hosts = ["127.0.0.1"] if mode == "proxy" else [f"{net}.0.{10 + number}" for number in numbers]
        certificates = Certificates(folder / "tls", hosts) if tls else None
        _network(stack, tag, net, engines, mode)
        registry = Registry(folder / "registry", "127.0.0.1" if mode == "proxy" else f"{net}.0.1", find_free_port())
        stack.callback(registry.stop)
        registry.launch(SYSTEM_PATH)
        started = []
        for number in numbers:
            engine = _engine(folder, tag, net, number, mode, tls, arguments)
            engine.certificates, engine.disk = certificates, disk
            stack.callback(engine.clean)
            stack.callback(engine.kill)
            started.append(engine.launch())
        registry.wait_ready()
        for engine in started:
            engine.wait_ready()
        yield Bed(folder, started, registry)


def _engine(folder: Path, tag: str, net: str, number: int, mode: str, tls: bool, arguments: Sequence[str]) -> Engine:
    pools = ["--default-address-pool", f"base={net}.{128 + number * 8}.0/21,size=26", *arguments]
    if mode == "proxy":
        network = ["--bridge", f"{tag}b{number}", "--fixed-cidr", f"{net}.{number}.0/24", "--ip", "127.0.0.1"]
        network += ["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", *pools]
        return Engine(folder / f"e{number}", f"{tag}e{number}", network, [], "127.0.0.1", find_free_port())
    network = ["--bip", f"{net}.{number}.1/24", "--insecure-registry", f"{net}.0.1/32", *pools]
    enter = ["nsenter", f"--net=/run/netns/{tag}n{number}", "--"]
    port = 2376 if tls else 2375
    return Engine(folder / f"e{number}", f"{tag}e{number}", network, enter, f"{net}.0.{10 + number}", port)


def _network(stack: ExitStack, tag: str, net: str, engines: int, mode: str) -> None:
    """Bridges for the engines, or a namespace for each and for the switch between them.

    The switch has a namespace of its own, or the host's packet filter would see what passes between the machines.
    """

    def undo(*command: str) -> None:
        stack.callback(subprocess.run, command, capture_output=True, env={**os.environ, "PATH": SYSTEM_PATH})

    if mode == "proxy":
        for number in range(1, engines + 1):
            bridge = f"{tag}b{number}"
            undo("ip", "link", "delete", bridge)
            run("ip", "link", "add", bridge, "type", "bridge")
            run("ip", "address", "add", f"{net}.{number}.1/24", "dev", bridge)
            run("ip", "link", "set", bridge, "up")
        return
    switch, uplink = f"{tag}s", f"{tag}u"
    undo("ip", "netns", "delete", switch)
    run("ip", "netns", "add", switch)
    run("ip", "-n", switch, "link", "add", "switch0", "type", "bridge")
    run("ip", "-n", switch, "link", "set", "switch0", "up")
    undo("ip", "link", "delete", uplink)
    run("ip", "link", "add", uplink, "type", "veth", "peer", "name", "host", "netns", switch)
    run("ip", "-n", switch, "link", "set", "host", "master", "switch0", "up")
    run("ip", "address", "add", f"{net}.0.1/24", "dev", uplink)
    run("ip", "link", "set", uplink, "up")
    for number in range(1, engines + 1):
        machine = f"{tag}n{number}"
        undo("ip", "netns", "delete", machine)
        run("ip", "netns", "add", machine)
        run("ip", "-n", machine, "link", "add", "eth0", "type", "veth", "peer", "name", machine, "netns", switch)
        run("ip", "-n", switch, "link", "set", machine, "master", "switch0", "up")
        run("ip", "-n", machine, "address", "add", f"{net}.0.{10 + number}/24", "dev", "eth0")
        run("ip", "-n", machine, "link", "set", "eth0", "up")
        run("ip", "-n", machine, "link", "set", "lo", "up")
        run("ip", "-n", machine, "route", "add", "default", "via", f"{net}.0.1")


def _free_octet() -> int:
    """Of a network 10.x.0.0/16 that this machine has no route to."""
    used = run("ip", "route")
    return random.choice([octet for octet in range(100, 250) if f"10.{octet}." not in used])
