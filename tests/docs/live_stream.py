"""A client of ``/api/v1/live``, which reads the stream as it comes."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any, Self

import requests

WITHIN = 15.0


class Live:
    """One stream; what came so far stays in ``seen``, as pairs of the event's name and its data."""

    def __init__(self, admin: str, token: str, after: str = "", **headers: str) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self.reply = self._session.get(
            f"{admin}/api/v1/live{after}",
            headers={"Authorization": f"Bearer {token}", **headers},
            stream=True,
            timeout=WITHIN,
        )
        self._lines = self.reply.iter_lines(chunk_size=1)
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.ids: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, where: TracebackType | None
    ) -> None:
        self.reply.close()
        self._session.close()

    def next(self) -> tuple[str, dict[str, Any]]:
        """The next event, whichever it is."""
        name = ""
        for line in self._lines:
            field, _, value = line.decode().partition(": ")
            if field == "event":
                name = value
            elif field == "id":
                self.ids.append(int(value))
            elif field == "data":
                self.seen.append((name, json.loads(value)))
                return self.seen[-1]
        raise EOFError("the stream has ended")

    def state(self) -> dict[str, Any]:
        """The next state."""
        return self._until("state")

    def event(self, kind: str) -> dict[str, Any]:
        """The next event of that kind."""
        return self._until("event", kind)

    def _until(self, name: str, kind: str | None = None) -> dict[str, Any]:
        deadline = time.monotonic() + WITHIN
        while time.monotonic() < deadline:
            found, data = self.next()
            if found == name and kind in (None, data.get("kind")):
                return data
        raise AssertionError(f"no {kind or name} within {WITHIN:g} s")
