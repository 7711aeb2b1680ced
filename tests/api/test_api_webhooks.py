"""Webhooks through a real gateway, to a real receiver that fails, hangs, redirects, goes and comes back."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_rig import Client, Rig, configuration, eventually, refused, rig_of, right, workspace
from processes import find_free_port
from receiver import Delivery, Receiver
from scripted_worker import script
from tls_files import write_certificate

SIGNED, PLAIN, NARROW, BRIEF = "signed", "plain", "narrow", "brief"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1", timedelta(days=1))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(
            workspace(SIGNED, *ports, slots=8, webhook_secret=SECRET),
            workspace(PLAIN, *ports, slots=8),
            workspace(NARROW, *ports),
            workspace(BRIEF, *ports, slots=8, retention="1s"),
            egress={"allow": ["127.0.0.0/8"]},
        )

    with rig_of(tmp_path_factory.mktemp("webhooks"), 1, make, {"SSL_CERT_FILE": str(certificate)}) as one:
        yield one


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


def submit(client: Client, url: str, webhook: str, data: Any = "x", **params: str) -> str:
    task_id: str = right(client.send(url, data, params={"taskMode": "Async", "webhook": webhook, **params}))["taskID"]
    return task_id


def told(receiver: Receiver, task_id: str, count: int = 1, within: float = 15) -> list[Delivery]:
    """What the receiver got about a task, once that is so much."""
    return eventually(lambda: len(got := receiver.of(task_id)) >= count and got, f"{count} deliveries", within)


def figure(rig: Rig, name: str, **labels: str) -> float:
    lines = rig.admin("/metrics", rig.token).text.splitlines()
    wanted = [f'{key}="{value}' for key, value in labels.items()]
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name) and all(w in line for w in wanted))


class TestMessage:
    @pytest.mark.parametrize("data", ["x", {"a": 1}], ids=["string", "object"])
    def test_it_is_the_reply_of_query_task_and_signed(self, rig: Rig, receiver: Receiver, data: Any) -> None:
        client = rig.client(SIGNED)
        task_id = submit(client, script(body=b'{"b": [2]}'), receiver.url, data)
        (delivery,) = told(receiver, task_id)
        assert delivery.json == client.query(task_id)
        assert delivery.path == "/hook?a=1"
        assert delivery.headers["content-type"] == "application/json"
        assert delivery.headers["host"] == f"127.0.0.1:{receiver.port}"
        assert delivery.id == f"{task_id}.0"
        assert abs(int(delivery.headers["webhook-timestamp"]) - time.time()) < 10
        assert delivery.signed_with(SECRET)
        assert not delivery.signed_with("whsec_AAAA")
        assert "authorization" not in delivery.headers and "cookie" not in delivery.headers

    def test_without_a_secret_it_is_not_signed(self, rig: Rig, receiver: Receiver) -> None:
        (delivery,) = told(receiver, submit(rig.client(PLAIN), script(), receiver.url))
        assert "webhook-signature" not in delivery.headers

    def test_over_tls(self, rig: Rig, certificate: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        with Receiver(tls=context) as receiver:
            (delivery,) = told(receiver, submit(rig.client(SIGNED), script(), receiver.url))
            assert delivery.signed_with(SECRET)

    def test_nobody_else_is_told_over_tls(self, rig: Rig, tmp_path: Path) -> None:
        """A receiver whose certificate nobody has signed gets nothing, not even the first byte."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(write_certificate(tmp_path, "127.0.0.1", timedelta(days=1)))
        with Receiver(tls=context) as receiver:
            before = figure(rig, "ngpu_webhook_deliveries_total", result="failed")
            submit(rig.client(SIGNED), script(), receiver.url)
            eventually(lambda: figure(rig, "ngpu_webhook_deliveries_total", result="failed") > before, "it failed")
            assert receiver.deliveries == []

    def test_a_large_result_is_left_out_and_said_to_be(self, rig: Rig, receiver: Receiver) -> None:
        client = rig.client(PLAIN)
        small = submit(client, script(size=1 << 20), receiver.url)
        large = submit(client, script(size=(1 << 20) + 1), receiver.url)
        assert len(told(receiver, small)[0].json["data"]) == 1 << 20
        (delivery,) = told(receiver, large)
        assert delivery.json["data"] == "" and "1048577 bytes" in delivery.json["data_left_out"]
        assert delivery.json["result_size"] == 1 and len(delivery.body) < 2000
        assert len(client.query(large)["data"]) == (1 << 20) + 1


class TestEnds:
    def test_each_kind_of_end(self, rig: Rig, receiver: Receiver) -> None:
        client, narrow = rig.client(PLAIN), rig.client(NARROW)
        blocker = submit(narrow, script(delay=30), receiver.url)
        eventually(lambda: narrow.status(blocker) == "running", "the slot is taken")
        queued = submit(narrow, script(), receiver.url)
        expired = submit(narrow, script(), receiver.url, taskTtl="500ms")
        failed = submit(client, script(status=500), receiver.url)
        synced = client.send(script(), params={"taskMode": "Sync", "webhook": receiver.url}).json()["taskID"]
        refusal = client.send(script(status=422), params={"taskMode": "Sync", "webhook": receiver.url}).json()["taskID"]
        assert told(receiver, expired)[0].json["status"] == "expired"
        assert right(narrow.ask("POST", "/user/purgeQueue"))["result_size"] == 1
        right(narrow.ask("POST", f"/user/cancelTask?taskID={blocker}"))
        for task_id, status in (
            (failed, "failed"),
            (refusal, "failed"),
            (synced, "finished"),
            (queued, "cancelled"),
            (blocker, "cancelled"),
        ):
            (delivery,) = told(receiver, task_id)
            assert delivery.json["status"] == status
            assert delivery.json == rig.client().query(task_id)

    def test_a_task_that_a_crash_left_behind(self, rig: Rig, receiver: Receiver) -> None:
        client = rig.client(PLAIN)
        task_id = submit(client, script(delay=30), receiver.url)
        eventually(lambda: client.status(task_id) == "running", "it runs")
        rig.gateway.kill9()
        rig.gateway.start()
        (delivery,) = told(receiver, task_id)
        assert delivery.json["status"] == "failed" and "unknown" in delivery.json["msg"]

    def test_a_retried_task_has_an_end_of_its_own(self, rig: Rig, receiver: Receiver) -> None:
        client = rig.client(PLAIN)
        task_id = submit(client, script(marker="hooked", cut="close", once=1, body=b"done"), receiver.url)
        told(receiver, task_id)
        right(client.ask("POST", f"/user/retryTask?taskID={task_id}"))
        first, second = told(receiver, task_id, 2)
        assert [first.json["status"], second.json["status"]] == ["failed", "finished"]
        assert [first.id, second.id] == [f"{task_id}.0", f"{task_id}.1"]


class TestReceivers:
    def test_one_that_fails_is_tried_again_with_the_same_id(self, rig: Rig, receiver: Receiver) -> None:
        receiver.answer = lambda delivery, before: (200 if before else 500, {})
        task_id = submit(rig.client(SIGNED), script(), receiver.url)
        first, second = told(receiver, task_id, 2)
        assert first.id == second.id and first.body == second.body
        gap = int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"])
        assert 3 <= gap <= 8
        assert second.signed_with(SECRET)

    def test_one_that_redirects_is_not_followed(self, rig: Rig, receiver: Receiver) -> None:
        with Receiver() as elsewhere:
            receiver.answer = lambda delivery, before: (200, {}) if before else (307, {"Location": elsewhere.url})
            told(receiver, submit(rig.client(PLAIN), script(), receiver.url), 2)
            assert elsewhere.deliveries == []

    def test_one_that_asks_for_time_gets_it(self, rig: Rig, receiver: Receiver) -> None:
        receiver.answer = lambda delivery, before: (200, {}) if before else (503, {"Retry-After": "8"})
        first, second = told(receiver, submit(rig.client(PLAIN), script(), receiver.url), 2, within=25)
        assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) >= 8

    def test_one_that_is_gone_is_a_dead_letter(self, rig: Rig, receiver: Receiver) -> None:
        receiver.answer = lambda delivery, before: (410, {})
        label = {"workspace": "workspace-"}
        before = figure(rig, "ngpu_webhooks_dead", **label)
        task_id = submit(rig.client(PLAIN), script(), receiver.url)
        told(receiver, task_id)
        eventually(lambda: figure(rig, "ngpu_webhooks_dead", **label) == before + 1, "it is counted")
        assert figure(rig, "ngpu_webhook_deliveries_total", result="dead") >= 1
        log = rig.gateway.log.read_text("utf-8")
        assert f"the webhook of {task_id} to 127.0.0.1 is given up after 1 tries: HTTP 410" in log
        assert "/hook" not in log, "URLs may hold secrets"
        assert len(receiver.of(task_id)) == 1

    def test_one_that_hangs_holds_up_nobody_else(self, rig: Rig, receiver: Receiver) -> None:
        with Receiver() as slow:
            slow.answer = slow.hang
            client = rig.client(PLAIN)
            stuck = [submit(client, script(), slow.url) for _ in range(12)]
            eventually(lambda: slow.at_once == 4, "as many as may be are under way")
            began = time.monotonic()
            told(receiver, submit(rig.client(SIGNED), script(), receiver.url))
            assert time.monotonic() - began < 4
            assert client.status(client.submit(script())) in ("queued", "running", "finished")
            assert slow.most_at_once == 4
            slow.released.set()
            for task_id in stuck:
                told(slow, task_id)

    def test_one_whose_reply_has_no_end_has_answered(self, rig: Rig, receiver: Receiver) -> None:
        receiver.answer = lambda delivery, before: (204 if before > 9 else 200, {"Content-Length": "1000000000"})
        before = figure(rig, "ngpu_webhook_deliveries_total", result="delivered")
        task_id = submit(rig.client(PLAIN), script(), receiver.url)
        told(receiver, task_id)
        eventually(lambda: figure(rig, "ngpu_webhook_deliveries_total", result="delivered") > before, "it is taken")
        assert len(receiver.of(task_id)) == 1

    def test_one_that_was_away_is_told_later_though_the_retention_is_over(self, rig: Rig) -> None:
        port, client = find_free_port(), rig.client(BRIEF)
        before = figure(rig, "ngpu_webhook_deliveries_total", result="failed")
        task_id = submit(client, script(body=b"done"), f"http://127.0.0.1:{port}/hook")
        eventually(lambda: figure(rig, "ngpu_webhook_deliveries_total", result="failed") > before, "it was tried")
        eventually(lambda: figure(rig, "ngpu_webhooks_pending") >= 1, "it is counted")
        rig.gateway.stop()
        with Receiver(port=port) as late:
            rig.gateway.start()  # which looks for tasks whose retention is over
            (delivery,) = told(late, task_id)
            assert delivery.json["data"] == "done" and delivery.id == f"{task_id}.0"

    def test_a_delivery_that_a_crash_cut_is_made_again(self, rig: Rig) -> None:
        with ExitStack() as stack:
            receiver = stack.enter_context(Receiver())
            receiver.answer = lambda delivery, before: (200, {}) if before else receiver.hang(delivery, before)
            task_id = submit(rig.client(SIGNED), script(), receiver.url)
            told(receiver, task_id)
            rig.gateway.kill9()
            rig.gateway.start()
            first, second = told(receiver, task_id, 2, within=45)
            assert first.id == second.id

    def test_a_delivery_that_a_stop_cut_is_made_at_the_next_start(self, rig: Rig) -> None:
        with Receiver() as receiver:
            receiver.answer = lambda delivery, before: (200, {}) if before else receiver.hang(delivery, before)
            task_id = submit(rig.client(SIGNED), script(), receiver.url)
            told(receiver, task_id)
            began = time.monotonic()
            rig.gateway.stop()
            assert time.monotonic() - began < 8
            rig.gateway.start()
            told(receiver, task_id, 2, within=10)


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("http://93.184.216.34/hook", "must be https"),
            ("https://10.0.0.1/hook", "not on the public internet"),
            ("https://[fe80::1]/hook", "not on the public internet"),
            ("https://169.254.169.254/latest/meta-data", "not on the public internet"),
            ("ftp://127.0.0.1/hook", "http(s) URL"),
            ("hook", "http(s) URL"),
            ("https://a:b@127.0.0.1/hook", "without credentials"),
            ("https://127.0.0.1:99999/hook", "http(s) URL"),
            ("https://nowhere.invalid/hook", "cannot be found"),
            ("http://127.0.0.1/h\u00e4", "ASCII"),
            ("https://127.0.0.1/" + "x" * 4000, ""),
        ],
        ids=lambda value: value[:30],
    )
    def test_where_they_may_not_lead(self, rig: Rig, url: str, said: str) -> None:
        client = rig.client(PLAIN)
        before = len(client.listed())
        reply = client.send(script(), params={"webhook": url})
        if said:
            assert said in refused(reply, 400)
            assert len(client.listed()) == before
        else:
            right(reply)
