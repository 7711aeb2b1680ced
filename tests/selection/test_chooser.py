"""A policy that raises when it is told of something, or asked what a request belongs to."""

from __future__ import annotations

from typing import Any

import pytest
from crowd import REQUEST, Crowd
from zope.interface import implementer

from ngpu.discovery import Plugins
from ngpu.errors import BadRequest, ConfigError, PolicyFailed
from ngpu.interfaces import ISelectionPolicy, PluginContext
from ngpu.member import CallResult
from ngpu.model import CHUNK, Candidate
from ngpu.plugin import Factory
from ngpu.policy import IAffinePolicy, IObservingPolicy
from ngpu.selection import Ranked
from ngpu.testing import verify_plugin


class Moody(Ranked):
    """By name; raises while it is in that mood."""

    mood: type[BaseException] | None = None

    def rank(self, candidate: Candidate) -> str:
        if self.mood is not None:
            raise self.mood("no rank")
        return candidate.replica.id

    def finished(self, candidate: Candidate, seconds: float) -> None:
        if self.mood is not None:
            raise self.mood("finished")


@pytest.mark.parametrize("mood", [ZeroDivisionError, SystemExit])
def test_what_it_missed_it_is_told_again_before_the_next_choice(mood: Any, no_leaks: Any) -> None:
    from random import Random

    no_leaks.expect(mood)
    policy = Moody(Random(1))
    crowd = Crowd(policy, 3, slots=2)
    first = crowd.take()
    policy.mood = mood
    crowd.give(first)  # nobody sees it: what has happened has happened
    assert first.in_flight == 0 and first.latency == 1.0
    for _ in range(3):
        with pytest.raises(PolicyFailed):
            crowd.take()
    assert [member.in_flight for member in crowd.pool.members.values()] == [0, 0, 0]
    policy.mood = None
    assert crowd.calls(1) == ["r0"]
    policy.mood = mood
    member = crowd.pool.take_from("r0", 0.0)
    crowd.pool.checked("r1", False, "down", 0.0)
    assert member is not None
    crowd.give(member, 1.0, CallResult.UNREACHED)
    policy.mood = None
    assert crowd.calls(2) == ["r2", "r2"], "the one rests, the other is down, and it knows of both"


@implementer(IAffinePolicy)
class Asking(Ranked):
    answer: Any = ""

    def rank(self, candidate: Candidate) -> int:
        return 0

    def affinity(self, header: Any, body: bytes) -> Any:
        self.body = body
        return self.answer() if callable(self.answer) else self.answer


def raise_it() -> str:
    raise ZeroDivisionError


def doubled() -> str:
    raise BadRequest("the header X was sent more than once")


def test_what_a_request_belongs_to_is_a_text_of_bounded_length(no_leaks: Any) -> None:
    from random import Random

    no_leaks.expect(ZeroDivisionError, TypeError)
    policy = Asking(Random(1))
    chooser = Crowd(policy).pool.chooser

    def affinity(answer: Any, body: bytes = b"") -> str:
        policy.answer = answer
        return chooser.affinity(lambda name: None, body, 0.0)

    assert affinity("user-7") == "user-7"
    assert affinity("u" * 5000) == "u" * 256
    assert [affinity(wrong) for wrong in (None, 7, b"user", raise_it)] == ["", "", "", ""]
    with pytest.raises(BadRequest):
        affinity(doubled)
    affinity("", b"x" * CHUNK)
    assert len(policy.body) == CHUNK
    affinity("", b"x" * (CHUNK + 1))
    assert policy.body == b"", "large bodies are nobody's business"


def test_policies_that_do_not_ask_are_not_asked() -> None:
    class Plain:
        def select(self, replicas: Any, request: Any) -> Any:
            return replicas[0]

        def changed(self, candidate: Any) -> None:
            raise AssertionError

    crowd = Crowd(Plain())
    assert crowd.pool.chooser.affinity(lambda name: "x", b"{}", 0.0) == ""
    assert crowd.take(REQUEST) is not None


def test_one_that_says_it_observes_and_does_not_is_refused_at_the_start() -> None:
    @implementer(IObservingPolicy)
    class Half:
        def select(self, replicas: Any, request: Any) -> Any:
            return replicas[0]

        def changed(self, candidate: Any) -> None:
            pass

    factory = Factory("selection", "half", "A test's.", lambda options, context: Half())
    plugins = Plugins({("selection", "half"): factory})
    with pytest.raises(ConfigError, match=r"the plugin 'half' is broken.*IObservingPolicy"):
        plugins.make("selection", "half", {}, PluginContext(None, None, "."))
    with pytest.raises(AssertionError, match="is not as its interface says"):
        verify_plugin(factory)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("keeps", "which is none of"),
        ("prefers suspects", "which is none of"),
        ("raises when told", "changed raised; it is told of what has happened already"),
        ("raises when asked", "affinity raised over a body"),
        ("number", "affinity returned 7; it must be a str"),
    ],
)
def test_the_contract_names_what_such_a_policy_breaks(kind: str, said: str) -> None:
    class Flawed(Asking):
        def __init__(self, rng: Any) -> None:
            super().__init__(rng)
            self.suspects: dict[str, Any] = {}

        def changed(self, candidate: Any) -> None:
            if kind == "raises when told" and candidate.suspect is False:
                raise KeyError(candidate.replica.id)
            self.suspects[candidate.replica.id] = candidate
            super().changed(candidate)

        def select(self, replicas: Any, request: Any) -> Any:
            hidden = [each for each in self.suspects.values() if kind == "prefers suspects" and each.suspect]
            return hidden[0] if hidden else super().select(replicas, request)

        def unavailable(self, candidate: Any) -> None:
            self.suspects.pop(candidate.replica.id, None)
            if kind != "keeps":
                super().unavailable(candidate)

    Flawed.answer = {"raises when asked": lambda self=None: raise_it(), "number": 7}.get(kind, "x")
    factory = Factory("selection", "flawed", "A test's.", lambda options, context: Flawed(context.rng))
    with pytest.raises(AssertionError) as caught:
        verify_plugin(factory)
    assert said in str(caught.value)


def test_the_flawless_one_passes() -> None:
    factory = Factory("selection", "flawless", "A test's.", lambda options, context: Asking(context.rng))
    verify_plugin(factory)
    assert ISelectionPolicy.implementedBy(Asking)
