"""The sadTalker and videoReTalker apps (wire contract §6): a picture and a text in, result_url out, one record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from api_rig import HOLDER, NO_HOLDER, Client, eventually, key_hash, refused, right
from apps_rig import HEAD, SPEECH, VIDEO, Apps, fetched, flat, followed, has_state, status, submit, talking, workspace
from queue_workers import NUMBERS, QueueWorker, sad_talker, video_retalking
from speech_workers import EdgeTts, OpenAiSpeech
from stand_in import Answer, StandIn


class Scene:
    """A SadTalker, a TTS, and a gateway before them."""

    def __init__(self, apps: Apps, takes: float = 0.1, speech: StandIn | None = None, **tts: Any) -> None:
        self.apps = apps
        self.head = apps.worker(sad_talker(takes))
        self.speech: Any = apps.worker(speech or EdgeTts())
        self.image = self.head.keep("face.png", b"a face", "image/png")
        self.tts = tts

    def start(self, keys: dict[str, Any] | None = None, **more: Any) -> Client:
        return self.apps.start(
            workspace(HEAD, {8075: self.head.port}, gate="ainn", apps={"sadTalker": "sadTalker"}, **(keys or {})),
            workspace(SPEECH, {7990: self.speech.port}),
            apps={"sadTalker": talking("sad_talker", HEAD, **self.tts)},
            **more,
        )


def test_image_and_text_in_result_url_out(apps: Apps) -> None:
    """With no credential and a flat body, as published clients do; the worker's own task is followed to its end."""
    scene = Scene(apps, takes=30)
    client = scene.start()
    task_id = submit(client, flat(scene.image))
    first = status(client, task_id)
    assert first["result_code"] in (101, 102) and set(first) == {"result_url", "result_code", "msg", *NUMBERS}
    has_state(client, task_id, 4)
    scene.head.takes = 0.1
    told = followed(client, task_id)
    assert told["result_code"] == 100 and type(told["result_code"]) is int
    assert fetched(told["result_url"]).startswith(b"result of ")
    assert (told["api_time_consume"], told["video_w"], told["gpu_type"], told["gpu_time_use"]) == (
        3,
        512,
        "RTX 3090",
        0,
    )

    (spoken,) = scene.speech.calls("POST", "/tts")
    assert spoken.body == {"content": flat("")["text"], "voicer": "英语 (美国)-Guy-男"}
    (job,) = scene.head.calls("POST", "/sadTalker")
    assert job.body["image_url"] == scene.image
    assert job.body["pose_style"] == 0 and job.body["exp_scale"] == 1.0 and job.body["enhancer"] is True
    assert len(job.body) == 12 and "text" not in job.body
    assert scene.head.fetched == [b"a face", "en-US-GuyNeural: 你好，我是马斯克。".encode()]
    assert {line.query["taskID"] for line in scene.head.calls("GET", "/sadTalker")} == set(scene.head.jobs)

    record = client.detailed(task_id)
    assert (record["state"], record["method"], record["btcaddress"]) == (3, "sadTalker", HOLDER)
    assert json.loads(record["request"])["pronouncer"] == "en-US-GuyNeural"
    assert json.loads(record["response"])["result_url"] == told["result_url"]
    assert client.query(task_id)["data"]["result_url"] == told["result_url"]
    assert apps.client(HEAD).listed() == [task_id], "one record for the whole"
    assert apps.client(SPEECH).listed() == []


def test_videoretalker_is_the_same_with_a_video(apps: Apps) -> None:
    lips, speech = apps.worker(video_retalking()), apps.worker(EdgeTts())
    video = lips.keep("clip.mp4", b"a clip", "video/mp4")
    client = apps.start(
        workspace(VIDEO, {8075: lips.port}),
        workspace(SPEECH, {7990: speech.port}),
        apps={"videoReTalker": talking("video_retalker", VIDEO)},
    )
    body = {"video_url": video, "text": "Hello.", "pronouncer": "zh-CN-YunxiNeural"}
    told = followed(client, submit(client, body, "videoReTalker"), "videoReTalker")
    assert told["result_code"] == 100
    (job,) = lips.calls("POST", "/videoRetalking")
    assert {name: job.body[name] for name in ("exp_img", "up_face", "fps")} == {
        "exp_img": "neutral",
        "up_face": "original",
        "fps": 25,
    }
    assert lips.fetched == [b"a clip", b"zh-CN-YunxiNeural: Hello."]


@pytest.mark.parametrize("data", ["object", "string"])
def test_a_scheduled_task_reaches_the_same_flow(apps: Apps, data: str) -> None:
    """schedulingTask with the paramUrl that the workspace hands to the app; the reply mirrors how data came."""
    scene = Scene(apps)
    scene.start()
    client = apps.client(HEAD)
    fields = {"image_url": scene.image, "text": "Hello.", "pronouncer": "en-US-AriaNeural"}
    task_id = client.submit("sadTalker", fields if data == "object" else json.dumps(fields), address=HOLDER)
    result = client.ended(task_id)["data"]
    told = result if data == "object" else json.loads(result)
    assert told["result_code"] == 100 and fetched(told["result_url"])
    assert status(client, task_id)["result_code"] == 100
    with_audio = {"image_url": scene.image, "audio_url": scene.image}
    assert client.ended(client.submit("sadTalker", with_audio))["data"]["result_code"] == 100
    assert len(scene.speech.calls("POST", "/tts")) == 1, "who brings speech needs none"


def test_a_client_that_waits_gets_the_result_itself(apps: Apps) -> None:
    scene = Scene(apps)
    client = scene.start()
    reply = right(client.ask("POST", "/user/sadTalker?taskMode=Sync", json=flat(scene.image)))
    assert reply["status"] == "finished" and reply["data"]["result_code"] == 100


def test_an_unknown_id_is_an_answer_in_the_workers_words(apps: Apps) -> None:
    """Its client knows no other end."""
    client = Scene(apps).start()
    told = status(client, "20240415_14_30_09_00000000000000000000000000")
    assert told["result_code"] == 200 and told["result_url"] is None and told["api_time_consume"] is None
    refused(client.ask("GET", "/user/queryTask?taskID=20240415_14_30_09_00000000000000000000000000"), 404)


def test_a_task_of_another_kind_is_no_success_here(apps: Apps) -> None:
    """A poller would take 100 without a URL for the end, and be left with nothing."""
    scene = Scene(apps)
    client = scene.start()
    task_id = apps.client(HEAD).submit("nothing/here")
    apps.client(HEAD).ended(task_id)
    assert status(client, task_id)["result_code"] == 104, "it failed at the worker"
    scene.head.answer = lambda line: Answer({"task_id": "7", "result_code": 100, "msg": "ok"})  # type: ignore[method-assign]
    task_id = apps.client(HEAD).submit("something/else")
    assert apps.client(HEAD).ended(task_id)["status"] == "finished"
    told = status(client, task_id)
    assert (told["result_url"], told["result_code"]) == (None, 104) and "none of this app" in told["msg"]


def test_what_fails_is_named(apps: Apps) -> None:
    scene = Scene(apps)
    client = scene.start()
    scene.speech.fail = True
    task_id = submit(client, flat(scene.image))
    told = followed(client, task_id)
    assert told["result_code"] == 104 and told["msg"] == "text to speech: code 202: No audio was received"
    record = client.detailed(task_id)
    assert record["state"] == -1 and record["reason"] == told["msg"]
    assert client.query(task_id)["data"]["result_code"] > 102
    assert scene.head.jobs == {}, "nothing was submitted"

    scene.speech.fail = False
    told = followed(client, submit(client, flat(scene.image, pronouncer="xx-XX-NobodyNeural")))
    assert told["msg"] == "text to speech: the worker has no voice xx-XX-NobodyNeural"

    scene.head.fail = "CUDA out of memory"
    told = followed(client, submit(client, flat(scene.image)))
    assert (told["result_code"], told["msg"]) == (104, "SadTalker: the job failed: code 104: CUDA out of memory")
    gone = scene.image.replace("face", "nobody")
    assert "SadTalker: the job failed: code 202" in followed(client, submit(client, flat(gone)))["msg"]

    scene.speech.stop()
    eventually(lambda: apps.client(SPEECH).get("/user/queryNodes")["nodes"][0]["status"] == 0, "the TTS is down")
    told = followed(client, submit(client, flat(scene.image)))
    assert told["msg"].startswith("text to speech: no replica of this workspace is up")


def test_done_without_a_video_is_a_failure_that_its_client_understands(apps: Apps) -> None:
    """What a poller reads as success without a URL to fetch would leave it with nothing, and the record with a lie."""
    scene = Scene(apps)
    client = scene.start()
    scene.head.forgetful = True
    task_id = submit(client, flat(scene.image))
    told = followed(client, task_id)
    assert told["result_code"] == 104 and told["result_url"] is None
    assert told["msg"].startswith("SadTalker: says that the job is done, and gives no result_url")
    assert client.detailed(task_id)["state"] == -1
    scene.head.forgetful, scene.head.ids = False, "\ud800"
    told = followed(client, task_id := submit(client, flat(scene.image)))
    assert told["result_code"] == 104 and "gave a task id that cannot be asked for" in told["msg"]
    assert client.detailed(task_id)["reason"] == told["msg"]


def test_one_job_at_a_time_and_the_others_wait(apps: Apps) -> None:
    """The slot is held for the whole conversation, so a busy SadTalker is never sent a second job."""
    scene = Scene(apps, takes=30)
    client = scene.start()
    ids = [submit(client, flat(scene.image)) for _ in range(3)]
    has_state(client, ids[0], 4)
    assert len(scene.head.jobs) == 1
    assert status(client, ids[2])["result_code"] == 101
    scene.head.takes = 0.1
    assert [followed(client, task_id)["result_code"] for task_id in ids] == [100, 100, 100]
    assert scene.head.most_at_once == 1 and len(scene.head.jobs) == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image_url": "ftp://192.0.2.1/x.png"}, "image_url"),
        ({"image_url": "http://10.1.2.3/x.png"}, "egress.allow"),
        ({"image_url": "http://169.254.169.254/latest/meta-data"}, "egress.allow"),
        ({"image_url": "http://[::1]/x.png"}, "egress.allow"),
        ({"image_url": "http://[::ffff:10.0.0.1]/x.png"}, "egress.allow"),
        ({"image_url": "http://user:secret@192.0.2.1/x.png"}, "image_url"),
        ({"image_url": None}, "image_url"),
        ({"image_url": 7}, "image_url"),
        ({"text": " "}, "text"),
        ({"text": ["x"]}, "text"),
        ({"pronouncer": ""}, "pronouncer"),
        ({"logo_url": "http://192.168.1.1/logo.png"}, "logo_url"),
        ({"backGroundName": "http://192.168.1.1/b.png"}, "backGroundName"),
        ({"backGroundName": 3}, "backGroundName"),
        ({"btc_address": "nonsense"}, "address"),
        ({"btc_address": 3}, "btc_address"),
    ],
    ids=str,
)
def test_what_no_worker_can_use_is_refused_at_once(refusing: Client, wrong: dict[str, Any], said: str) -> None:
    msg = refused(refusing.ask("POST", "/user/sadTalker", json=flat("http://127.0.0.1/x.png", **wrong)), 400)
    assert said in msg


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Apps.begun(tmp_path_factory.mktemp("refusing")) as apps:
        yield Scene(apps).start()


def test_the_gate_and_the_keys_hold_for_apps_too(apps: Apps) -> None:
    scene = Scene(apps)
    client = scene.start({"keys": [key_hash("secret")]})
    refused(client.ask("POST", "/user/sadTalker", json=flat(scene.image)), 401)
    client = apps.client("Bearer secret")
    refused(client.ask("POST", "/user/sadTalker", json=flat(scene.image, btc_address=NO_HOLDER)), 403)
    task_id = submit(client, flat(scene.image))
    assert followed(apps.client(), task_id)["result_code"] == 100, "polls come without credentials"
    assert len(scene.head.jobs) == 1


@pytest.mark.parametrize("deliver", ["url", "data_uri"])
def test_speech_in_bytes_reaches_the_worker(apps: Apps, deliver: str) -> None:
    """As a file of the gateway, or as a data URI, which urllib fetches as well."""
    from processes import find_free_port

    port = find_free_port()
    scene = Scene(apps, speech=OpenAiSpeech(), kind="openai_speech", deliver=deliver)
    listen = [f"tcp:{port}:interface=127.0.0.1"]
    client = scene.start(listen=listen, media={"url": f"http://127.0.0.1:{port}", "ttl": "1m"})
    told = followed(client, submit(client, flat(scene.image, pronouncer="fable")))
    assert told["result_code"] == 100, told
    assert scene.head.fetched[1] == "fable: 你好，我是马斯克。".encode()
    (job,) = scene.head.calls("POST", "/sadTalker")
    if deliver == "url":
        url = job.body["audio_url"]
        assert fetched(url) == scene.head.fetched[1]
        name, _, query = url.rpartition("/")[2].partition("?")
        for spoilt in (
            f"/media/{name}?{query[:-1]}{'0' if query[-1] != '0' else '1'}",
            f"/media/{name}?{query.replace('audio', 'text')}",
            f"/media/{'0' * 32}?{query}",
            f"/media/key?{query}",
        ):
            refused(client.ask("GET", spoilt), 404)
        refused(client.ask("GET", f"/media/{name}"), 400)
    told = followed(client, submit(client, flat(scene.image, pronouncer="nobody")))
    assert told["msg"].startswith("text to speech: HTTP 400: ")


def test_without_a_public_url_the_record_says_what_is_missing(apps: Apps) -> None:
    scene = Scene(apps, speech=OpenAiSpeech(), kind="openai_speech")
    client = scene.start()
    told = followed(client, submit(client, flat(scene.image, pronouncer="fable")))
    assert told["result_code"] == 104 and "media.url" in told["msg"]


def test_cancelling_reaches_into_the_middle(apps: Apps) -> None:
    scene = Scene(apps, takes=30)
    client = scene.start()
    task_id = submit(client, flat(scene.image))
    has_state(client, task_id, 4)
    right(apps.client(HEAD).ask("POST", f"/user/cancelTask?taskID={task_id}"))
    assert status(client, task_id)["result_code"] == 104
    assert client.detailed(task_id)["state"] == 5
    polled = len(scene.head.calls("GET", "/sadTalker"))
    next_one: QueueWorker = scene.head
    second = submit(client, flat(scene.image))
    eventually(lambda: len(next_one.jobs) == 2, "the slot is free")
    assert {line.query["taskID"] for line in scene.head.calls("GET", "/sadTalker")[polled + 1 :]} <= set(
        list(scene.head.jobs)[1:]
    )
    right(apps.client(HEAD).ask("POST", f"/user/cancelTask?taskID={second}"))
