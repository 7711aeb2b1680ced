"""`sticky`: one session, one replica, within the bound; also for tasks that wait in the queue."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from crowd import Crowd, asked_by, policy
from gateway_rig import House, done

from ngpu.errors import BadRequest
from ngpu.member import CallResult
from ngpu.tasks.foresight import Foresight, Guess
from ngpu.testing.forwarder import FakeReply

SESSIONS = [f"user-{number}" for number in range(40)]


def homes(crowd: Crowd) -> dict[str, str]:
    """Where each session goes while nothing else is in flight."""
    return {session: crowd.call(session=session) for session in SESSIONS}


def test_a_session_stays_where_it_is_and_only_those_of_one_that_goes_move() -> None:
    crowd = Crowd(policy("sticky"), 5, slots=4)
    home = homes(crowd)
    assert homes(crowd) == home and len(set(home.values())) == 5
    assert homes(Crowd(policy("sticky", seed=9), 5, slots=4)) == home, "another gateway thinks alike"
    crowd.pool.checked("r2", False, "down", 0.0)
    moved = {session for session, replica in homes(crowd).items() if replica != home[session]}
    assert moved == {session for session in SESSIONS if home[session] == "r2"}
    crowd.pool.checked("r2", True, "", 0.0)
    assert homes(crowd) == home


def test_a_busy_replicas_session_goes_to_the_same_other_one_each_time() -> None:
    crowd = Crowd(policy("sticky"), 5)
    home = homes(crowd)
    for session in SESSIONS[:10]:
        held = crowd.take(asked_by(session))
        assert held.replica.id == home[session]
        second = {crowd.call(session=session) for _ in range(5)}
        assert len(second) == 1 and home[session] not in second
        crowd.give(held)


@pytest.mark.parametrize(("epsilon", "most"), [(0.25, 5), (1.0, 8), (100, 40)])
def test_one_loud_session_does_not_take_more_than_the_bound(epsilon: float, most: int) -> None:
    crowd = Crowd(policy("sticky", header="X", epsilon=epsilon), 5, slots=50)
    taken = Counter(crowd.take(asked_by("loud")).replica.id for _ in range(20))
    assert max(taken.values()) <= most
    if epsilon == 100:
        assert len(taken) == 1
    else:
        assert len(taken) >= 3


def test_one_that_failed_often_loses_its_sessions_for_a_while() -> None:
    crowd = Crowd(policy("sticky"), 5)
    home = homes(crowd)
    for _ in range(2):
        crowd.call(0.01, CallResult.ERRED, SESSIONS[0])
    assert crowd.call(session=SESSIONS[0]) != home[SESSIONS[0]]
    crowd.now = 5.0
    assert crowd.call(session=SESSIONS[0]) == home[SESSIONS[0]]


def test_a_loud_session_overflows_to_whom_it_is_shown_and_not_to_suspects() -> None:
    crowd = Crowd(policy("sticky"), 3, slots=20)
    for _ in range(2):
        suspect = crowd.pool.take_from("r1", 0.0)
        assert suspect is not None
        crowd.give(suspect, 0.01, CallResult.ERRED)
    assert {crowd.take(asked_by("loud")).replica.id for _ in range(40)} == {"r0", "r2"}
    assert {crowd.take(asked_by("loud")).replica.id for _ in range(20)} == {"r1"}, "there is nobody else"


def test_requests_without_a_session_go_to_the_least_loaded() -> None:
    crowd = Crowd(policy("sticky"), 4, slots=2)
    assert len({crowd.take().replica.id for _ in range(4)}) == 4


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"user": {"id": "seven"}}, "seven"),
        ({"user": {"id": 7}}, "7"),
        ({"user": {"id": True}}, ""),
        ({"user": {"id": None}}, ""),
        ({"user": {"id": ["a"]}}, ""),
        ({"user": "seven"}, ""),
        ([{"user": {"id": "seven"}}], ""),
        (b"{", ""),
        (b"\xff", ""),
        (b"[" * 100_000, ""),
        (b"", ""),
    ],
)
def test_the_field_of_a_body(body: Any, found: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert policy("sticky", field="user.id").affinity(lambda name: "not this", data) == found


# --- through the gateway ------------------------------------------------------------------------------------------


def sent_to(house: House) -> dict[bytes, set[int]]:
    """For each body, the ports of the replicas that got it."""
    seen: dict[bytes, set[int]] = {}
    for call in house.forwarder.calls:
        seen.setdefault(call.body, set()).add(call.port)
    return seen


def house(up: bool = True, **options: Any) -> House:
    answers = {18080 + number: FakeReply() for number in range(4)}
    return House(answers, replicas=4, up=up, policy=policy("sticky", **(options or {"field": "session"})))


def body(session: str) -> bytes:
    return json.dumps({"session": session}).encode()


def test_calls_that_wait_go_to_their_sessions_replica() -> None:
    gateway = house()
    for _ in range(3):
        for session in SESSIONS:
            assert gateway.call(data=body(session)).over
    ports = sent_to(gateway)
    assert {len(each) for each in ports.values()} == {1} and len({min(each) for each in ports.values()}) == 4


def test_a_header_of_the_customers_request_says_it_though_it_goes_no_further() -> None:
    gateway = (
        house(field=None, header="X-Session")
        if False
        else House(
            {18080 + number: FakeReply() for number in range(4)},
            replicas=4,
            policy=policy("sticky", header="X-Session"),
        )
    )
    for _ in range(3):
        for session in SESSIONS:
            asked = {"X-Session": session}
            assert gateway.call(data=session.encode(), header=asked.get).over
    ports = sent_to(gateway)
    assert {len(each) for each in ports.values()} == {1} and len({min(each) for each in ports.values()}) == 4
    assert not any(b"x-session" in str(call.request.headers).lower().encode() for call in gateway.forwarder.calls)


def test_queued_tasks_go_to_their_sessions_replica_too() -> None:
    """A slot is taken before a task is claimed; the gateway remembers what it queued."""
    gateway = house()
    for _ in range(3):
        for session in SESSIONS:
            gateway.submit(data=body(session))
    ports = sent_to(gateway)
    assert {len(each) for each in ports.values()} == {1} and len({min(each) for each in ports.values()}) == 4
    gateway.assert_at_rest()


def test_queued_tasks_behind_one_that_was_cancelled_find_theirs_again() -> None:
    """One wrong guess for each that was cancelled, and not one for each task from there on."""
    gateway = house(up=False)
    tasks = [gateway.submit(data=body(session)) for session in SESSIONS]
    for task in (tasks[3], tasks[9], tasks[10], tasks[20]):
        done(gateway.gateway.cancel(task, gateway.submission().access))
    for replica in gateway.replicas:
        gateway.pool.checked(replica.id, True, "", gateway.clock.seconds())
    gateway.line.serve()
    assert gateway.sent == 36
    for session in SESSIONS:
        gateway.call(data=body(session))
    away = {each for each, ports in sent_to(gateway).items() if len(ports) > 1}
    assert away <= {body(SESSIONS[number]) for number in (4, 11, 21)}
    gateway.assert_at_rest()


def test_a_field_that_was_sent_twice_is_refused_and_nothing_is_kept() -> None:
    def header(name: str) -> str:
        raise BadRequest(f"the header {name} was sent more than once")

    gateway = House({18080: FakeReply()}, policy=policy("sticky", header="X-Session"))
    assert isinstance(gateway.call(header=header).error, BadRequest)
    with pytest.raises(BadRequest):
        gateway.submit(header=header)
    assert gateway.tasks == []


def test_foresight_is_put_right_by_what_is_claimed() -> None:
    foresight = Foresight(3)
    assert foresight.guess() == Guess()
    for name in "abcd":
        foresight.queued(name, f"session of {name}")
    assert foresight.guess() == ("b", "session of b"), "no more are remembered than may wait"
    guess = foresight.guess()
    foresight.taken(guess)
    assert foresight.guess().task_id == "c"
    assert foresight.claimed(guess, "b") == "session of b"
    assert foresight.claimed(Guess("c", "x"), "d") == "session of d"
    assert foresight.guess() == Guess(), "what was before it is gone"
    assert foresight.claimed(Guess(), "of another process") == ""
