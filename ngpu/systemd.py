"""Telling systemd how the service is: the protocol of sd_notify(3), and the watchdog of sd_watchdog_enabled(3)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_SEND_WITHIN = 1.0
"""Seconds that a message may take to go out: systemd reads slowly while it starts a whole machine."""


class Systemd:
    """Whoever started this process and wants to be told; says nothing where nobody does.

    :param reactor: the one that runs; a turn of it that never ends lets the watchdog bite.
    :param environment: where ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` may stand.
    """

    log = Logger("ngpu.systemd")

    def __init__(self, reactor: Any, environment: Mapping[str, str]) -> None:
        self._reactor = reactor
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._period = _watchdog_period(environment)
        self._watchdog = LoopingCall(self._send, "WATCHDOG=1")
        self._watchdog.clock = reactor
        self._handed_over = False
        if self._address:
            reactor.addSystemEventTrigger("before", "shutdown", self.stopping)

    def ready(self) -> None:
        """The service serves, for the first time or with a configuration that was read anew."""
        self._tell("READY=1\nSTATUS=serving")
        if self._address and self._period and not self._watchdog.running:
            self._watchdog.start(self._period)

    def reloading(self) -> None:
        """The configuration is read anew; `ready` says when that is over, however it went."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reading the configuration anew")

    def handed_over(self) -> None:
        """Another program takes this one's place in this very process, and will be the one that is ready."""
        self._handed_over = True

    def stopping(self) -> None:
        """The service ends."""
        self._tell("STOPPING=1\nSTATUS=ending running calls")

    def _tell(self, message: str) -> None:
        if not self._handed_over:
            self._send(message)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # a leading @ stands for the zero byte of an abstract address
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.settimeout(_SEND_WITHIN)
                out.sendto(message.encode(), address)
        except OSError as error:
            self.log.warn("systemd was not told {message}: {error}", message=message.split("\n")[0], error=error)


def _watchdog_period(environment: Mapping[str, str]) -> float:
    """Seconds between two signs of life, half of what systemd waits for one; 0.0: it does not."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0, int(environment.get("WATCHDOG_USEC", "0"))) / 2_000_000
    except ValueError:
        return 0.0
