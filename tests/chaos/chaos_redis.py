"""A Redis that is watched by a sentinel, and its replica: one takes over from the other again and again."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from redis_server import RedisServer

NAME = "theMaster"
WITHIN = 30.0
SENTINEL = """\
sentinel monitor {name} 127.0.0.1 {port} 1
sentinel down-after-milliseconds {name} 500
sentinel failover-timeout {name} 2000
"""


class Pair:
    """A master, a replica and a sentinel.

    :param settings: of both servers.
    :ivar lasted: seconds from each kill of a master until the sentinel named another one.
    """

    def __init__(self, folder: Path, settings: tuple[str, ...]) -> None:
        self._settings = settings
        self._folder = folder
        self._servers: list[RedisServer] = []
        self._stack = ExitStack()
        self.lasted: list[float] = []

    def start(self) -> Self:
        """Both, and the sentinel, which then knows the replica."""
        master = self._begin(RedisServer(self._folder / "one", *self._settings))
        following = ("--replicaof", f"127.0.0.1 {master.port}", "--repl-diskless-sync-delay", "0")
        replica = self._begin(RedisServer(self._folder / "other", *self._settings, *following))
        self._servers = [master, replica]
        watch = SENTINEL.format(name=NAME, port=master.port)
        self.sentinel = self._begin(RedisServer(self._folder / "sentinel", sentinel=watch))
        self._until(lambda: "master_link_status:up" in replica.ask("INFO", "replication"))
        self._until(lambda: str(replica.port) in self.sentinel.ask("SENTINEL", "replicas", NAME))
        return self

    def stop(self) -> None:
        self._stack.close()

    def fail_over(self) -> None:
        """Kill the master, see another one take its place, and let the killed one follow it."""
        master, replica = self._servers
        self._until(lambda: "master_link_status:up" in replica.ask("INFO", "replication"))
        began = time.monotonic()
        master.kill9()
        self._until(lambda: f"\r\n{replica.port}\r\n" in self.sentinel.ask("SENTINEL", "get-master-addr-by-name", NAME))
        self.lasted.append(round(time.monotonic() - began, 2))
        master.settings = [*self._settings, "--replicaof", f"127.0.0.1 {replica.port}"]
        master.start()
        self._servers = [replica, master]

    def _begin(self, server: RedisServer) -> RedisServer:
        self._stack.callback(server.stop)
        return server.start()

    def _until(self, true: object) -> None:
        deadline = time.monotonic() + WITHIN
        while not true():  # type: ignore[operator]
            assert time.monotonic() < deadline, self.sentinel.log()
            time.sleep(0.05)
