"""Customers who never stop calling, each on connections that it keeps and on new ones, and what went wrong for them."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
from scripted_worker import script

WORKSPACE = "0123"
WITHIN = 30.0
PAUSE = 0.01
"""Seconds between two calls of a customer: the machine's time is for the gateways."""


class Customers:
    """Calls with these delays, one customer each, from the beginning of the block to its end.

    :ivar answered: how many calls were answered as they should be.
    :ivar failures: what became of the others.
    """

    def __init__(self, url: str, *delays: float) -> None:
        self._url = url
        self.answered = 0
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(delay,)) for delay in delays]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, where: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(WITHIN)

    def _call(self, delay: float) -> None:
        number = 0
        while not self._over.is_set():
            with requests.Session() as session:
                session.trust_env = False
                for _ in range(number % 5 + 1):
                    number += 1
                    self._once(session, delay)
                    self._over.wait(PAUSE)

    def _once(self, session: requests.Session, delay: float) -> None:
        began = time.monotonic()
        try:
            reply = session.post(
                self._url + "/user/schedulingTask",
                params={"paramUrl": script(delay=delay, body=b"done"), "taskMode": "Sync"},
                json={"data": "x"},
                headers={"Authorization": WORKSPACE},
                timeout=WITHIN,
            )
        except requests.RequestException as error:
            self.failures.append(f"{time.monotonic() - began:.2f} s: {error!r}")
            return
        if reply.status_code == 200 and "done" in reply.text:
            self.answered += 1
        else:
            self.failures.append(f"{time.monotonic() - began:.2f} s: {reply.status_code} {reply.text[:200]}")


def worker_pids(log: Path) -> dict[int, int]:
    """The process of each worker that was started last, by its number, as the parent's log has it."""
    found = re.findall(r"worker (\d+) is process (\d+)", log.read_text("utf-8"))
    return {int(number): int(pid) for number, pid in found}


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def hang_up(pid: int) -> None:
    """Have the configuration read anew."""
    os.kill(pid, signal.SIGHUP)
