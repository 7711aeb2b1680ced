"""A trace through the gateway: passed on as it is, or continued by spans that a collector gets."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import requests
from api_rig import Rig, configuration, eventually, rig_of, workspace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import ROOT
from scripted_worker import script

from ngpu.otel import Tracing
from ngpu.settings import SettingsError, loads
from ngpu.tracing import trace_fields

ONE = "0123"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
SENT = {"traceparent": PARENT, "tracestate": "vendor=opaque"}


class Collector:
    """Takes spans in over OTLP/HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                taken = ExportTraceServiceRequest()
                taken.ParseFromString(gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data)
                for each in taken.resource_spans:
                    collector.resources.append({a.key: a.value.string_value for a in each.resource.attributes})
                    collector.spans += [span for scope in each.scope_spans for span in scope.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def of(self, trace: str) -> dict[str, Any]:
        """The spans of a trace, by name."""
        return {span.name: span for span in self.spans if span.trace_id.hex() == trace}

    def all_of(self, trace: str, *names: str) -> dict[str, Any]:
        return eventually(
            lambda: (found := self.of(trace)).keys() >= set(names) and found, f"{names}, {self.of(trace).keys()}"
        )


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Rig]:
    env = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_RESOURCE_ATTRIBUTES": "site=lab", "NO_PROXY": "127.0.0.1"}
    with rig_of(
        tmp_path_factory.mktemp("traced"),
        1,
        lambda ports: configuration(workspace(ONE, *ports), tracing={"endpoint": collector.url}),
        env=env,
    ) as one:
        yield one


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig_of(tmp_path_factory.mktemp("plain"), 1, lambda ports: configuration(workspace(ONE, *ports))) as one:
        yield one


def received(rig: Rig, marker: str) -> tuple[str | None, str | None]:
    """What the worker was told of the trace."""
    call = rig.worker.call(marker)
    return call.header("traceparent"), call.header("tracestate")


def raw(rig: Rig, marker: str, headers: dict[str, str]) -> requests.Response:
    return rig.client(ONE).ask("GET", "/proxy/" + script(body=b"fine", marker=marker), headers=headers)


def test_without_a_collector_a_trace_passes_unchanged(plain: Rig) -> None:
    assert raw(plain, "raw", SENT).status_code == 200
    assert received(plain, "raw") == (PARENT, "vendor=opaque")
    client = plain.client(ONE)
    client.send(script(marker="sync"), params={"taskMode": "Sync"}, headers=SENT)
    assert received(plain, "sync") == (PARENT, "vendor=opaque")
    task = client.submit(script(marker="async"), params={"taskMode": "Async"}, headers=SENT)
    client.ended(task)
    assert received(plain, "async") == (PARENT, "vendor=opaque"), "it was kept with the task"
    client.ended(client.submit(script(marker="bad"), headers={"traceparent": "00-xyz", "tracestate": "a=b"}))
    assert received(plain, "bad") == (None, None)


def test_another_trace_is_the_same_request(plain: Rig) -> None:
    client = plain.client(ONE)
    tries = [
        client.submit(script(marker="key"), headers={"Idempotency-Key": "k", "traceparent": f"00-{TRACE}-{n:016x}-01"})
        for n in (1, 2)
    ]
    assert tries[0] == tries[1]


def test_a_raw_call_has_its_spans(rig: Rig, collector: Collector) -> None:
    assert raw(rig, "raw", SENT).status_code == 200
    spans = collector.all_of(TRACE, "proxy", "wait for a slot", "call a replica")
    request, call = spans["proxy"], spans["call a replica"]
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    assert call.parent_span_id == spans["wait for a slot"].parent_span_id == request.span_id
    assert received(rig, "raw") == (f"00-{TRACE}-{call.span_id.hex()}-01", "vendor=opaque")
    assert request.start_time_unix_nano <= call.start_time_unix_nano <= call.end_time_unix_nano
    told = {each.key: each.value for each in request.attributes}
    assert told["http.response.status_code"].int_value == 200 and told["ngpu.task_id"].string_value
    assert any(each["service.name"] == "ngpu" and each["site"] == "lab" for each in collector.resources)
    line = eventually(lambda: [each for each in rig.log_lines() if each.get("trace_id") == TRACE], "it is logged")
    assert line[0]["path"].startswith("/proxy")


def test_a_task_has_its_spans_and_those_that_fail_say_so(rig: Rig, collector: Collector) -> None:
    trace = "5" * 32
    headers = {"traceparent": f"00-{trace}-{'6' * 16}-01"}
    client = rig.client(ONE)
    task = client.submit(script(marker="task", status=500), params={"taskMode": "Async"}, headers=headers)
    client.ended(task)
    names = ("schedulingTask", "store a task", "wait for a slot", "call a replica", "store a result")
    spans = collector.all_of(trace, *names)
    assert {spans[name].parent_span_id for name in names[1:]} == {spans["schedulingTask"].span_id}
    assert spans["call a replica"].status.message == "erred"
    assert received(rig, "task")[0] == f"00-{trace}-{spans['call a replica'].span_id.hex()}-01"


def test_what_is_not_sampled_is_not_sent_but_passed_on(rig: Rig, collector: Collector) -> None:
    trace = "7" * 32
    assert raw(rig, "unsampled", {"traceparent": f"00-{trace}-{'8' * 16}-00"}).status_code == 200
    parent = received(rig, "unsampled")[0] or ""
    assert parent.startswith(f"00-{trace}-") and parent.endswith("-00") and not collector.of(trace)


def test_a_request_without_a_trace_begins_one(rig: Rig, collector: Collector) -> None:
    assert raw(rig, "none", {}).status_code == 200
    parent = received(rig, "none")[0] or ""
    collector.all_of(parent.split("-")[1], "proxy")


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"x",
        b"ff-" + PARENT.encode()[3:],
        PARENT.encode().upper(),
        b"00-" + b"0" * 32 + PARENT.encode()[35:],
        PARENT.encode() + b"-what",  # version 00 has four parts
    ],
)
def test_a_malformed_trace_is_ignored(parent: bytes) -> None:
    assert trace_fields({b"traceparent": [parent], b"tracestate": [b"a=b"]}) == ()


def test_a_later_version_may_say_more() -> None:
    parent = b"01" + PARENT.encode()[2:] + b"-what"
    assert trace_fields({b"traceparent": [parent]}) == ((b"traceparent", parent),)


def test_state_is_joined_or_dropped() -> None:
    parent = PARENT.encode()
    two = trace_fields({b"traceparent": [parent], b"tracestate": [b"a=b", b"c=d"]})
    assert two == ((b"traceparent", parent), (b"tracestate", b"a=b,c=d"))
    for state in (b"x" * 600, b"a=\xff"):
        assert trace_fields({b"traceparent": [parent], b"tracestate": [state]}) == ((b"traceparent", parent),)
    assert trace_fields({b"traceparent": [parent, parent]}) == ()


def test_an_endpoint_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"must be a URL such as http://127.0.0.1:4318"):
        loads("tracing: {endpoint: collector}", "f", Path(ROOT))


def test_a_gateway_without_a_collector_that_answers_serves_and_ends(tmp_path: Path) -> None:
    keys = {"tracing": {"endpoint": "http://127.0.0.1:9"}}
    with rig_of(tmp_path, 1, lambda ports: configuration(workspace(ONE, *ports), **keys)) as rig:
        assert raw(rig, "alone", SENT).status_code == 200
        began = time.monotonic()
        rig.gateway.stop()
        assert time.monotonic() - began < 15, "whoever stops it does not wait for the collector"


@pytest_twisted.ensureDeferred
async def test_a_collector_that_hangs_keeps_no_thread_of_the_reactor() -> None:
    """A process waits for those before it ends, or before another one takes its place."""
    from twisted.internet import reactor

    with socket.create_server(("127.0.0.1", 0)) as hangs:
        tracing = Tracing(f"http://127.0.0.1:{hangs.getsockname()[1]}", "here", reactor)
        tracing.begin("call", (), 0.0).end()
        await tracing.close()
        assert reactor.getThreadPool().working == []  # type: ignore[attr-defined]
