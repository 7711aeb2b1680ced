"""How copies have fared since this process began: since when they are awaited, what was tried, and how it went."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from ngpu.errors import EngineError
from ngpu.fleet.copies import Copy
from ngpu.fleet.situation import Vital
from ngpu.fleet.steps import Restart, Step

FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds until a copy that did not start is tried again; they double from the first to the longest."""


class Vitals:
    """By copy.

    :param patience: seconds that a copy gets to come up after a restart.
    """

    def __init__(self, patience: Callable[[str], float]) -> None:
        self._patience = patience
        self._of: dict[str, Vital] = {}
        self._were_up: frozenset[str] = frozenset()

    def all(self) -> Mapping[str, Vital]:
        """As they are now."""
        return dict(self._of)

    def retry(self, now: float) -> None:
        """Let no copy rest any longer, and give each its grace anew."""
        self._of = {copy_id: Vital(now, checked=vital.checked) for copy_id, vital in self._of.items()}

    def note(
        self,
        copies: Mapping[str, Copy],
        seen: Mapping[str, str],
        checked: Iterable[str],
        up: Iterable[str],
        awake: frozenset[str],
        now: float,
    ) -> None:
        """Take in what was seen.

        :param seen: copies that have a container, and what is wrong with it: an engine that starts it again forgets.
        :param checked: copies whose health is checked.
        :param up: those of them that are healthy.
        :param awake: nodes whose engine answers; a copy's grace begins anew when its node is back.
        """
        for gone in self._of.keys() - copies.keys():
            del self._of[gone]
        back, self._were_up = awake - self._were_up, awake
        for copy_id, vital in self._of.items():
            if copies[copy_id].node in back:
                self._of[copy_id] = replace(vital, since=now, next_try=0.0)
        for copy_id, reason in seen.items():
            vital = self._of.setdefault(copy_id, Vital(now))
            if reason:
                self._of[copy_id] = replace(vital, reason=reason)
        for copy_id in checked:
            if copy_id in copies and not self._of.setdefault(copy_id, Vital(now)).checked:
                self._of[copy_id] = replace(self._of[copy_id], since=now, checked=True)
        for copy_id in up:
            if copy_id in copies:
                self._of[copy_id] = Vital(now, checked=True)

    def tried(self, step: Step, error: Exception | None, now: float) -> None:
        """A step was made for a copy, or failed."""
        vital = self._of.get(step.copy, Vital(now))
        rest = min(FIRST_REST * 2**vital.tries, LONGEST_REST)
        if isinstance(step, Restart):
            rest = max(rest, self._patience(step.copy))
        reason = str(error) if isinstance(error, EngineError) else ""
        self._of[step.copy] = replace(vital, tries=min(vital.tries + 1, 16), next_try=now + rest, reason=reason)
