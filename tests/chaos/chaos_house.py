"""Gateways, their store, workers and the proxies between them, as real processes; and what is done to them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from api_rig import configuration, workspace
from chaos_clock import FakeClock
from chaos_customers import AGAIN, CONNECT, ONCE
from chaos_faults import (
    CLIENTS,
    CUT,
    FAILOVER,
    FULL,
    GATEWAY,
    JUMP,
    KILL,
    LEASE,
    PAUSE,
    REDIS,
    STALL,
    TERM,
    WORKER,
    Fault,
)
from chaos_proxy import FaultProxy
from chaos_redis import NAME, Pair
from processes import Gateway, Process, find_free_port
from redis_server import RedisServer

WORKERS = 2
DISK = "24m"
REDIS_DISK = "192m"
ALWAYS = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction")
REPLICATED = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1", "--repl-ping-replica-period", "1")


class JournallingWorker(Process):
    """A scripted worker in a process of its own; ``journal`` is on disk before it works."""

    def __init__(self, folder: Path, nth: int) -> None:
        self.port = find_free_port()
        self.journal = folder / f"worker{nth}.journal"
        program = str(Path(__file__).with_name("chaos_worker.py"))
        command = [sys.executable, program, str(self.port), str(self.journal)]
        super().__init__(command, folder / f"worker{nth}.log", f"http://127.0.0.1:{self.port}/")

    def lines(self) -> list[tuple[str, str]]:
        """Event and marker of each line."""
        if not self.journal.exists():
            return []
        return [
            (event, marker)
            for event, _, marker in (line.partition(" ") for line in self.journal.read_text().splitlines())
        ]


class House:
    """All that runs in one trial.

    :param mode: ``sqlite``, with one gateway, ``redis``, or ``sentinel``: two of these that take turns.
    :ivar tally: faults by what they were.
    :ivar skipped: faults that this machine does not allow, with the reason.
    """

    def __init__(self, folder: Path, mode: str, gateways: int, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.mode = mode
        self.tally: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}
        self.clocks = [FakeClock(folder / f"clock{nth}") for nth in range(gateways)]
        self.redis: RedisServer | None = None
        self.pair: Pair | None = None
        self.gateways: list[Gateway] = []
        self.workers: list[JournallingWorker] = []
        self.client_proxies: list[FaultProxy] = []
        self.worker_proxies: list[FaultProxy] = []
        self.redis_proxies: list[FaultProxy] = []
        self._env = env or {}
        self._disk: Path | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._mount(stack)
            for nth in range(WORKERS):
                worker = JournallingWorker(self.folder, nth)
                stack.callback(worker.kill9)
                worker.start()
                self.workers.append(worker)
                self.worker_proxies.append(self._proxy(stack, worker.port))
            if self.mode == "redis":
                disk = self._disk or self.folder
                rewrites = ("--auto-aof-rewrite-min-size", "16mb")
                self.redis = RedisServer(disk / "redis", *ALWAYS, *rewrites)
                stack.callback(self.redis.stop)
                self.redis.start()
            if self.mode == "sentinel":
                self.pair = Pair(self.folder / "redis", (*ALWAYS, *REPLICATED))
                stack.callback(self.pair.stop)
                self.pair.start()
            for nth in range(len(self.clocks)):
                self._start_gateway(stack, nth)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def urls(self) -> list[str]:
        """Where customers reach the gateways."""
        return [f"http://127.0.0.1:{proxy.port}" for proxy in self.client_proxies]

    @property
    def targets(self) -> dict[str, int]:
        return {GATEWAY: len(self.gateways), CLIENTS: len(self.gateways), WORKER: WORKERS, REDIS: len(self.gateways)}

    def store_file(self) -> Path:
        """The embedded store's."""
        return (self._disk or self.folder) / "store" / "ngpu.sqlite"

    def _proxy(self, stack: ExitStack, port: int) -> FaultProxy:
        proxy = FaultProxy(port).start()
        stack.callback(proxy.stop)
        return proxy

    def _start_gateway(self, stack: ExitStack, nth: int) -> None:
        if self.redis is not None:
            proxy = self._proxy(stack, self.redis.port)
            self.redis_proxies.append(proxy)
            url = f"redis://127.0.0.1:{proxy.port}"
            store: dict[str, Any] = {
                "kind": "redis",
                "url": url,
                "prefix": "chaos",
                "lease": f"{LEASE:g}s",
                "timeout": "2s",
            }
        elif self.pair is not None:
            watch = [f"127.0.0.1:{self.pair.sentinel.port}"]
            store = {"kind": "redis", "url": f"redis://{NAME}", "sentinels": watch, "lease": f"{LEASE:g}s"}
        else:
            store = {"kind": "sqlite", "path": str(self.store_file())}
        ports = [proxy.port for proxy in self.worker_proxies]
        common: dict[str, Any] = {
            "slots": 2,
            "timeout": "10s",
            "queue": {"limit": 100_000},
            "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        }
        config = configuration(
            workspace(ONCE, *ports, retry="never", **common),
            workspace(CONNECT, *ports, retry="connect", **common),
            workspace(AGAIN, *ports, retry="idempotent", **common),
            store=store,
            egress={"allow": ["127.0.0.0/8"]},
        )
        gateway = Gateway(config, self.folder / f"gateway{nth}", {**self._env, **self.clocks[nth].env})
        stack.callback(gateway.kill9)
        gateway.start()
        self.gateways.append(gateway)
        self.client_proxies.append(self._proxy(stack, int(gateway.url.rpartition(":")[2])))

    def _mount(self, stack: ExitStack) -> None:
        """A small disk for the store, where that is allowed."""
        disk = self.folder / "disk"
        disk.mkdir()
        size = DISK if self.mode == "sqlite" else REDIS_DISK
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], capture_output=True, text=True
        )
        if mounted.returncode:
            self.skipped[FULL] = f"no small disk can be mounted here: {mounted.stderr.strip()}"
            return
        self._disk = disk
        stack.callback(subprocess.run, ["umount", "-l", str(disk)], capture_output=True)

    # What is done to them.

    def suffer(self, fault: Fault) -> None:
        """Do it, and put it right; returns once everything runs again."""
        kind, target = fault.what
        if kind == FULL and self._disk is None:
            return
        if kind == JUMP and not self.clocks[fault.nth].installed:
            self.skipped[JUMP] = "libfaketime is not installed (Debian's package faketime)"
            return
        self.tally[f"{kind} {target}"] += 1
        acts: dict[tuple[str, str], Callable[[], None]] = {
            (KILL, GATEWAY): lambda: self._kill(self.gateways[fault.nth], fault.length),
            (TERM, GATEWAY): lambda: self._restart(self.gateways[fault.nth], fault.length),
            (KILL, WORKER): lambda: self._kill(self.workers[fault.nth], fault.length),
            (PAUSE, GATEWAY): lambda: self._pause(self.gateways[fault.nth].pid, fault.length),
            (PAUSE, WORKER): lambda: self._pause(self.workers[fault.nth].pid, fault.length),
            (CUT, CLIENTS): lambda: self.client_proxies[fault.nth].cut(),
            (CUT, WORKER): lambda: self.worker_proxies[fault.nth].cut(),
            (STALL, WORKER): lambda: self._stall(self.worker_proxies[fault.nth], fault.length),
            (JUMP, GATEWAY): lambda: self.clocks[fault.nth].jump(fault.length),
            (FULL, GATEWAY): lambda: self._fill(fault.length),
        }
        if self.redis is not None:
            acts |= {
                (CUT, REDIS): lambda: self.redis_proxies[fault.nth].cut(),
                (STALL, REDIS): lambda: self._stall(self.redis_proxies[fault.nth], fault.length),
                (PAUSE, REDIS): lambda: self._pause_redis(fault.length),
                (KILL, REDIS): lambda: self._kill_redis(fault.length),
                (TERM, REDIS): lambda: self._restart_redis(fault.length),
                (FULL, REDIS): lambda: self._fill(fault.length),
            }
        if self.pair is not None:
            acts[FAILOVER, REDIS] = self.pair.fail_over
        acts[kind, target]()

    def _kill(self, process: Process, seconds: float) -> None:
        process.kill9()
        time.sleep(seconds)
        self._start(process)

    def _restart(self, process: Process, seconds: float) -> None:
        process.stop(60)
        time.sleep(seconds)
        self._start(process)

    def _start(self, process: Process) -> None:
        """As a service manager does, which begins again where the store cannot be written just now."""
        until = time.monotonic() + 30
        while True:
            try:
                process.start()
                return
            except AssertionError:
                if self.pair is None or time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def _pause(self, pid: int, seconds: float) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    def _stall(self, proxy: FaultProxy, seconds: float) -> None:
        proxy.stall()
        try:
            time.sleep(seconds)
        finally:
            proxy.flow()

    def _pause_redis(self, seconds: float) -> None:
        assert self.redis is not None
        self.redis.signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self.redis.signal(signal.SIGCONT)

    def _kill_redis(self, seconds: float) -> None:
        assert self.redis is not None
        self.redis.kill9()
        time.sleep(seconds)
        self.redis.start()

    def _restart_redis(self, seconds: float) -> None:
        assert self.redis is not None
        self.redis.signal(signal.SIGTERM)
        self.redis.wait()
        time.sleep(seconds)
        self.redis.start()

    def _fill(self, seconds: float) -> None:
        """Leave no room on the disk of the store. Redis ends itself when it cannot write with appendfsync always."""
        assert self._disk is not None
        ballast = self._disk / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            free = shutil.disk_usage(self._disk).free
            file.write(bytes(free))
            while True:
                file.write(bytes(4096))
        time.sleep(seconds)
        ballast.unlink()
        if self.redis is not None and self.redis.gone():
            self.tally["Redis ended by itself"] += 1
            self.redis.wait()
            self.redis.start()
