"""Health and retry: which replica gets a call, and what happens when one goes away."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from api_rig import NODES, Client, Rig, configuration, eventually, refused, rig_of, right, workspace
from scripted_worker import ScriptedWorker, script

ALL = "connect", "idempotent", "never", "least", "fast", "turns", "slow", "sticky", "fussy"
CONNECT, IDEMPOTENT, NEVER, LEAST, FAST, TURNS, SLOW, STICKY, FUSSY = ALL


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        first, second, third = ports
        turns = {"policy": "round_robin"}
        sticky = {"policy": "sticky", "options": {"header": "X-Session"}}
        nodes = [
            {"address": node, "host": "127.0.0.1", "labels": {"rack": str(index)}} for index, node in enumerate(NODES)
        ]
        # a replica that goes down between two checks is met by calls: that is what retries are for
        rarely = {"interval": "60s", "timeout": "2s"}
        return configuration(
            workspace(CONNECT, first, second, slots=4, selection=turns),
            workspace(IDEMPOTENT, first, second, slots=4, selection=turns, retry="idempotent", timeout="2s"),
            workspace(NEVER, first, second, slots=4, selection=turns, retry="never") | {"health": rarely},
            workspace(LEAST, first, second, third, slots=4, selection={"policy": "least_loaded"}),
            workspace(FAST, first, second, third, slots=4, selection={"policy": "least_loaded"}),
            workspace(TURNS, first, second, third, slots=4, selection=turns),
            workspace(SLOW, first, second, slots=4, selection=turns) | {"health": rarely},
            workspace(STICKY, first, second, third, slots=4, selection=sticky),
            workspace(FUSSY, first, second, third, selection={"require": {"labels": {"rack": "2"}}}),
            nodes=nodes,
        )

    with rig_of(tmp_path_factory.mktemp("replicas"), 3, make) as one:
        for name in ALL:
            eventually(lambda name=name: all_up(one.client(name)), f"the replicas of {name} are up")
        yield one


@pytest.fixture(autouse=True)
def well(rig: Rig) -> Iterator[None]:
    """Workers that listen, are healthy and do what they are told; replicas that are up, and rested."""
    yield
    for worker in rig.workers:
        worker.listen()
        worker.healthy = True
        worker.defaults = {}
    for name in {*ALL} - {NEVER, SLOW}:  # which are looked at once in a minute
        eventually(lambda name=name: all_up(rig.client(name)), f"the replicas of {name} are up again")


def all_up(client: Client) -> bool:
    return all(node["status"] == 1 for node in client.get("/user/queryNodes")["nodes"])


def sync(client: Client, url: str) -> Any:
    return client.send(url, params={"taskMode": "Sync"})


def served_by(rig: Rig, prefix: str) -> list[int]:
    """How many calls whose markers begin so reached each worker."""
    return [sum(marker.startswith(prefix) for marker in worker.markers()) for worker in rig.workers]


def test_a_replica_whose_checks_fail_gets_no_calls(rig: Rig) -> None:
    client, ill = rig.client(CONNECT), rig.workers[0]
    ill.healthy = False
    eventually(lambda: not all_up(client), "it is down")
    for number in range(10):
        right(sync(client, script(marker=f"ill-{number}")))
    assert served_by(rig, "ill-") == [0, 10, 0]
    ill.healthy = True
    eventually(lambda: all_up(client), "it is up")
    for number in range(10):
        right(sync(client, script(marker=f"well-{number}")))
    assert served_by(rig, "well-") == [5, 5, 0]


def test_a_replica_that_comes_back_is_used_at_once_by_what_waits(rig: Rig) -> None:
    client = rig.client(CONNECT)
    for worker in rig.workers[:2]:
        worker.refuse()
    eventually(lambda: [node["status"] for node in client.get("/user/queryNodes")["nodes"]] == [0, 0], "all down")
    task_id = client.submit(script())
    assert client.status(task_id) == "queued"
    rig.workers[1].listen()
    assert client.ended(task_id, 10)["status"] == "finished"


def test_refused_connections_are_tried_elsewhere(rig: Rig) -> None:
    """The gateway does not know yet that the replica is down, since its checks are rare; no call fails."""
    client = rig.client(SLOW)
    rig.workers[0].refuse()
    for number in range(6):
        right(sync(client, script(marker=f"refused-{number}")))
    ids = [client.submit(script(marker=f"refused-async-{number}")) for number in range(6)]
    assert [client.ended(task_id)["status"] for task_id in ids] == ["finished"] * 6
    assert served_by(rig, "refused-") == [0, 12, 0]


def test_never_means_never(rig: Rig) -> None:
    client = rig.client(NEVER)
    rig.workers[0].refuse()
    # refused once, the replica rests and the other one takes the next calls
    answers = Counter(sync(client, script(marker=f"never-{number}")).status_code for number in range(4))
    assert answers == {502: 1, 200: 3}
    assert served_by(rig, "never-") == [0, 3, 0]


@pytest.mark.parametrize("cut", ["close", "reset", "head", "middle"])
def test_by_default_a_call_that_was_sent_is_not_repeated(rig: Rig, cut: str) -> None:
    client, marker = rig.client(CONNECT), f"once-{cut}"
    refused(sync(client, script(marker=marker, cut=cut, size=1000)), 502)
    assert sum(served_by(rig, marker)) == 1
    task_id = client.submit(script(marker=marker + "-async", cut=cut, size=1000))
    assert client.ended(task_id)["result_code"] == 502
    assert client.detailed(task_id)["attempts"] == 1
    assert sum(served_by(rig, marker + "-async")) == 1
    for _ in range(2):
        right(sync(client, script()))


@pytest.mark.parametrize("mode", ["Sync", "Async"])
@pytest.mark.parametrize("cut", ["close", "reset", "head", "middle"])
def test_idempotent_calls_run_again_elsewhere(rig: Rig, cut: str, mode: str) -> None:
    """The first worker that gets the call cuts it, the next one answers."""
    client, marker = rig.client(IDEMPOTENT), f"again-{cut}-{mode}"
    reply = right(client.send(script(marker=marker, cut=cut, once=1, size=1000), params={"taskMode": mode}))
    assert len(client.ended(reply["taskID"])["data"]) == 1000
    assert client.detailed(reply["taskID"])["attempts"] == 2
    assert sum(served_by(rig, marker)) == 2
    right(sync(client, script()))


def test_an_idempotent_call_that_is_always_cut_ends(rig: Rig) -> None:
    client = rig.client(IDEMPOTENT)
    refused(sync(client, script(marker="always-cut", cut="close")), 502)
    assert 2 <= sum(served_by(rig, "always-cut")) <= 3


def test_a_workers_500_is_an_answer_and_not_repeated(rig: Rig) -> None:
    for name in (CONNECT, IDEMPOTENT):
        refused(sync(rig.client(name), script(marker=f"answered-{name}", status=500)), 500)
        assert sum(served_by(rig, f"answered-{name}")) == 1
    for _ in range(2):
        right(sync(rig.client(CONNECT), script()))


def test_a_replica_that_fails_fast_is_rested_while_another_serves(rig: Rig) -> None:
    """It fails quicker than the other one works, so that least_loaded alone would send it everything."""
    client, broken = rig.client(FAST), rig.workers[0]
    warm = [client.submit(script(delay=0.2)) for _ in range(9)]
    assert all(client.ended(task_id)["status"] == "finished" for task_id in warm)
    for worker in rig.workers[1:]:
        worker.defaults = {"delay": "0.1"}
    broken.defaults = {"status": "500"}

    def one(number: int) -> int:
        return int(sync(rig.client(FAST), script(marker=f"fast-{number}")).status_code)

    with ThreadPoolExecutor(4) as pool:
        answers = Counter(pool.map(one, range(60)))
    assert answers[200] >= 45, answers
    assert served_by(rig, "fast-")[0] == answers[500] <= 15
    assert all_up(client), "its health checks are fine all the while"


def test_an_only_replica_is_not_rested_for_its_answers(rig: Rig) -> None:
    """A server error may be the request's fault; without another replica, resting this one would help nobody."""
    client = rig.client(CONNECT)
    rig.workers[1].healthy = False
    eventually(lambda: not all_up(client), "one is left")
    for number in range(8):
        refused(sync(client, script(marker=f"only-{number}", status=500)), 500)
    right(sync(client, script()))


def test_round_robin_takes_turns(rig: Rig) -> None:
    client = rig.client(TURNS)
    for number in range(12):
        right(sync(client, script(marker=f"turn-{number}")))
    assert served_by(rig, "turn-") == [4, 4, 4]


def test_sticky_keeps_a_session_by_a_header_that_the_worker_never_sees(rig: Rig) -> None:
    client, sessions = rig.client(STICKY), "abcdefghijklmnop"
    for number in range(4):
        for session in sessions:
            asked = {"headers": {"X-Session": session}, "params": {"taskMode": "Sync" if number % 2 else "Async"}}
            reply = right(client.send(script(marker=f"session-{session}"), **asked))
            client.ended(reply["taskID"])
    homes = [served_by(rig, f"session-{session}") for session in sessions]
    assert all(sorted(each) == [0, 0, 4] for each in homes) and len({each.index(4) for each in homes}) == 3
    assert not any("x-session" in str(call.headers).lower() for worker in rig.workers for call in worker.calls)


def test_only_nodes_that_are_required_get_calls(rig: Rig) -> None:
    client = rig.client(FUSSY)
    for number in range(6):
        right(sync(client, script(marker=f"fussy-{number}")))
    assert served_by(rig, "fussy-") == [0, 0, 6]


def test_least_loaded_avoids_the_busy(rig: Rig) -> None:
    client = rig.client(LEAST)
    busy = [client.submit(script(marker=f"busy-{number}", delay=30)) for number in range(6)]
    eventually(lambda: sum(served_by(rig, "busy-")) == 6, "all run")
    assert served_by(rig, "busy-") == [2, 2, 2]
    for task_id in busy:
        right(client.ask("POST", f"/user/cancelTask?taskID={task_id}"))


def test_killing_and_restarting_one_of_two_workers_fails_no_call(rig: Rig) -> None:
    """While calls are connect-level failures only: the worker is taken away between its calls, not in them."""
    worker, stop, answers = rig.workers[0], threading.Event(), Counter[int]()
    gate = threading.Lock()

    def keep_calling(name: str) -> None:
        client = rig.client(CONNECT)
        while not stop.is_set():
            status = int(sync(client, script(marker=f"kill-{name}")).status_code)
            with gate:
                answers[status] += 1

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(keep_calling, str(number)) for number in range(4)]
        for _ in range(3):
            take_away(worker, rig.client(CONNECT))
            worker.listen()
            eventually(lambda: all_up(rig.client(CONNECT)), "it is up")
        stop.set()
        for caller in callers:
            caller.result()
    assert answers.keys() == {200}, answers
    assert answers[200] > 20


def take_away(worker: ScriptedWorker, client: Client) -> None:
    """Stop taking connections, and close what is left once nobody calls it any more."""
    worker.stop_listening()
    eventually(lambda: not all_up(client), "it is down")
    eventually(lambda: worker.at_once == 0, "its calls have ended")
    worker.refuse()
