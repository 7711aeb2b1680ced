"""What a test can make of `FakeEngine`, beyond the contract of engines."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ngpu.containers import ContainerHealth, ContainerSpec, ContainerState, RegistryLogin
from ngpu.errors import EngineRefused, EngineUnreachable
from ngpu.testing import FakeEngine, FakeRegistry

SPEC = ContainerSpec("ngpu-f-a", "i", ports={80: 0}, labels={"ngpu.fleet": "f"})


def ask(call: Any) -> list[Any]:
    """Where the answer comes once it is there; a Failure of what it raised."""
    answers: list[Any] = []
    Deferred.fromCoroutine(call).addBoth(answers.append)
    return answers


def told(call: Any) -> Any:
    """The answer of a call that does not take long."""
    (answer,) = ask(call)
    if isinstance(answer, Failure):
        answer.raiseException()
    return answer


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine(Clock())
    engine.images.add("i")
    return engine


def test_one_that_is_away_answers_nothing(engine: FakeEngine) -> None:
    engine.away = "no connection"
    with pytest.raises(EngineUnreachable, match="no connection"):
        told(engine.info())
    engine.away = ""
    assert told(engine.info()).version == "fake"
    assert engine.calls == [("info", ""), ("info", "")]


def test_calls_are_refused_by_kind_and_by_container(engine: FakeEngine) -> None:
    engine.refuse = {"start ngpu-f-a": "no GPU runtime"}
    told(engine.create(SPEC))
    with pytest.raises(EngineRefused, match="no GPU runtime"):
        told(engine.start(SPEC.name))
    engine.refuse = {"create": "disk full"}
    with pytest.raises(EngineRefused, match="disk full"):
        told(engine.create(SPEC))


def test_what_is_slow_answers_in_time_or_is_given_up() -> None:
    clock = Clock()
    engine = FakeEngine(clock, timeout=10.0)
    engine.slow = {"info": 9.0, "containers": 11.0}
    info, listed = ask(engine.info()), ask(engine.containers("f"))
    clock.advance(8.9)
    assert info == listed == []
    clock.advance(0.1)
    assert info[0].version == "fake"
    clock.advance(1.0)
    assert listed[0].check(EngineUnreachable)


def test_a_lost_answer_was_carried_out(engine: FakeEngine) -> None:
    engine.lost = {"create"}
    with pytest.raises(EngineUnreachable):
        told(engine.create(SPEC))
    assert engine.names() == [SPEC.name]


def test_a_pull_takes_its_time_and_breaks_with_the_engine() -> None:
    clock, registry = Clock(), FakeRegistry("r/x:1")
    engine = FakeEngine(clock, registry)
    engine.pull_seconds = 20.0
    pinned = told(engine.resolve("r/x:1", None))
    shares: list[float] = []
    pulled = ask(engine.pull(pinned, None, shares.append))
    clock.pump([1.0] * 20)
    assert pulled == [pinned]
    assert shares == [step / 10 for step in range(11)]
    engine.images.clear()
    broken = ask(engine.pull(pinned, None, shares.append))
    clock.pump([1.0] * 5)
    engine.away = "no connection"
    clock.pump([1.0] * 5)
    assert broken[0].check(EngineUnreachable)
    assert engine.images == set()


def test_a_registry_that_is_down_or_wants_a_login(engine: FakeEngine) -> None:
    registry = engine.registry
    first = registry.push("r/x:1")
    assert told(engine.resolve("r/x:1", None)) == first
    assert registry.push("r/x:1") != first
    registry.login = RegistryLogin("u", "p")
    with pytest.raises(EngineRefused, match="login"):
        told(engine.resolve("r/x:1", None))
    with pytest.raises(EngineRefused, match="login"):
        told(engine.pull(first, RegistryLogin("u", "q"), print))
    assert told(engine.pull(first, RegistryLogin("u", "p"), lambda share: None)) == first
    registry.down = True
    with pytest.raises(EngineRefused, match="cannot be reached"):
        told(engine.resolve("r/x:1", RegistryLogin("u", "p")))


def test_containers_end_and_run_again_by_a_tests_word(engine: FakeEngine) -> None:
    told(engine.create(SPEC))
    told(engine.start(SPEC.name))
    engine.end(SPEC.name, "out of memory")
    ended = engine.kept(SPEC.name)
    assert (ended.state, ended.reason, ended.restarts) == (ContainerState.RESTARTING, "out of memory", 1)
    engine.run(SPEC.name, ContainerHealth.HEALTHY)
    again = engine.kept(SPEC.name)
    assert (again.state, again.health, again.reason) == (ContainerState.RUNNING, ContainerHealth.HEALTHY, "")
    assert engine.spec(SPEC.name) == SPEC


def test_a_machine_that_loses_power_comes_back_with_its_containers_stopped(engine: FakeEngine) -> None:
    told(engine.create(SPEC))
    told(engine.start(SPEC.name))
    engine.lose_power("no route")
    with pytest.raises(EngineUnreachable, match="no route"):
        told(engine.containers("f"))
    engine.away = ""
    (container,) = told(engine.containers("f"))
    assert container.state is ContainerState.EXITED
    assert container.ports == {}


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(RegistryLogin("u", "secret"))
