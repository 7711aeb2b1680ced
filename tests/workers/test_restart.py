"""A gateway, or a worker, that dies in the middle of a conversation: the worker's journal shows one submission."""

from __future__ import annotations

import json
import time
from typing import Any

from api_rig import Client, eventually, refused, right
from apps_rig import HEAD, SPEECH, WITHIN, Apps, fetched, flat, followed, has_state, status, submit, talking, workspace
from queue_workers import QueueWorker, sad_talker
from speech_workers import EdgeTts


def started(apps: Apps, *heads: QueueWorker, interval: str = "50ms", **keys: Any) -> Client:
    """A gateway before these SadTalkers, each a replica of one slot, and a TTS."""
    speech = apps.worker(EdgeTts())
    blocks = [workspace(HEAD, {8075: head.port}, **keys) for head in heads]
    blocks[0]["upstream"] = [block["upstream"][0] for block in blocks]
    app = talking("sad_talker", HEAD)
    app["options"]["interval"] = interval
    return apps.start(blocks[0], workspace(SPEECH, {7990: speech.port}), apps={"sadTalker": app})


def submissions(*heads: QueueWorker) -> int:
    return sum(len(head.calls("POST", "/sadTalker")) for head in heads)


def test_killed_in_the_middle_it_goes_on_polling(apps: Apps) -> None:
    """Four jobs on two replicas; two are at work when the gateway dies. Each goes on where it is, none runs twice."""
    heads = [apps.worker(sad_talker(60)), apps.worker(sad_talker(60))]
    image = heads[0].keep("face.png", b"a face", "image/png")
    client = started(apps, *heads)
    ids = [submit(client, flat(image)) for _ in range(4)]
    for task_id in ids[:2]:
        has_state(client, task_id, 4)
    apps.gateway.kill9()
    polled = [len(head.calls("GET", "/sadTalker")) for head in heads]
    apps.gateway.start()
    assert [status(client, task_id)["result_code"] for task_id in ids] == [102, 102, 101, 101]
    assert client.detailed(ids[0])["state"] == 4
    for head in heads:
        head.takes = 0.2
    for task_id in ids:
        told = followed(client, task_id)
        assert told["result_code"] == 100 and fetched(told["result_url"])
    assert submissions(*heads) == 4, "each exactly once"
    assert [head.most_at_once for head in heads] == [1, 1]
    assert all(len(head.calls("GET", "/sadTalker")) > before for head, before in zip(heads, polled, strict=True))
    assert [client.detailed(task_id)["attempts"] for task_id in ids] == [2, 2, 1, 1], "a takeover is one"


def test_the_job_is_cancelled_after_a_restart(apps: Apps) -> None:
    """Also while its replica is away, so that the conversation itself waits."""
    head = apps.worker(sad_talker(30))
    image = head.keep("face.png", b"a face", "image/png")
    client = started(apps, head)
    task_id = submit(client, flat(image))
    has_state(client, task_id, 4)
    apps.gateway.kill9()
    head.api.stop()
    apps.gateway.start()
    time.sleep(0.3)
    assert status(client, task_id)["result_code"] == 102
    right(apps.client(HEAD).ask("POST", f"/user/cancelTask?taskID={task_id}"))
    assert client.detailed(task_id)["state"] == 5
    refused(apps.client(HEAD).ask("POST", f"/user/cancelTask?taskID={task_id}"), 409)
    head.api.start()
    second = submit(client, flat(image))
    has_state(client, second, 4)
    right(apps.client(HEAD).ask("POST", f"/user/cancelTask?taskID={second}"))


def test_killed_before_the_worker_has_it_nobody_knows(apps: Apps) -> None:
    """During speech no checkpoint is there yet: the usual rule holds, and nothing is submitted again."""
    head = apps.worker(sad_talker())
    image = head.keep("face.png", b"a face", "image/png")
    client = started(apps, head)
    speech = apps._workers[1]
    answer, speech.answer = speech.answer, lambda line: (time.sleep(3), answer(line))[1]  # type: ignore[method-assign]
    task_id = submit(client, flat(image))
    eventually(lambda: speech.journal, "speech is being made", WITHIN)
    assert client.detailed(task_id)["state"] == 2
    assert client.query(task_id)["progress"] == "text to speech"
    apps.gateway.kill9()
    apps.gateway.start()
    told = followed(client, task_id)
    assert told["result_code"] == 104 and "outcome is unknown" in told["msg"]
    assert submissions(head) == 0


def test_a_clean_stop_does_not_wait_for_jobs_that_go_on(apps: Apps) -> None:
    """Nor does it cancel them at the worker."""
    head = apps.worker(sad_talker(60))
    image = head.keep("face.png", b"a face", "image/png")
    client = started(apps, head)
    task_id = submit(client, flat(image))
    has_state(client, task_id, 4)
    began = time.monotonic()
    apps.gateway.restart()
    assert time.monotonic() - began < 15, "the grace for calls that cannot go on is 20 s"
    head.takes = 0.1
    assert followed(client, task_id)["result_code"] == 100
    assert submissions(head) == 1


def test_a_worker_that_restarts_fails_what_it_was_doing(apps: Apps) -> None:
    """While it is away it is asked again; what waits in the gateway runs once it is back."""
    head = apps.worker(sad_talker(30))
    image = head.keep("face.png", b"a face", "image/png")
    client = started(apps, head)
    first, second = (submit(client, flat(image)) for _ in range(2))
    has_state(client, first, 4)
    eventually(lambda: any(job.said.get("begun") for job in head.jobs.values()), "it has begun", WITHIN)
    head.stop()
    time.sleep(0.3)
    assert status(client, first)["result_code"] == 102, "it may come back"
    head.takes = 0.1
    head.restart()
    told = followed(client, first)
    assert (told["result_code"], told["msg"]) == (104, "SadTalker: the job failed: code 104: The task failed")
    assert followed(client, second)["result_code"] == 100
    assert submissions(head) == 2


def test_a_worker_that_forgot_the_job(apps: Apps) -> None:
    """Code 200 of a poll is an error there, and nulls are no news."""
    head = apps.worker(sad_talker(30))
    image = head.keep("face.png", b"a face", "image/png")
    client = started(apps, head)
    task_id = submit(client, flat(image))
    has_state(client, task_id, 4)
    head.jobs.clear()
    told = followed(client, task_id)
    assert told["msg"] == "SadTalker: the job failed: code 200: The task does not exist"
    assert json.loads(client.detailed(task_id)["response"])["result_code"] == 200, "the worker's own words are kept"
