"""How long a client of HTTP/2 may take, and how a connection comes to its end."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from h2.settings import SettingCodes
from h2_client import H2Client, client_context, head
from hyperframe.frame import HeadersFrame
from server_rig import QUICK
from tls_rig import ServedTLS
from twisted.internet.threads import deferToThread

from ngpu.http.server.h2.frames import Frames

SHORT = replace(QUICK, head_timeout=2.0, idle_timeout=2.0)
STRICT = replace(QUICK, body_window=1.0, write_timeout=1.0)


@pytest_twisted.async_yield_fixture
async def served() -> AsyncIterator[ServedTLS]:
    one = ServedTLS(SHORT)
    yield one
    await one.stop()


@pytest_twisted.async_yield_fixture
async def strict() -> AsyncIterator[ServedTLS]:
    one = ServedTLS(STRICT)
    yield one
    await one.stop()


@pytest_twisted.async_yield_fixture
async def patient() -> AsyncIterator[ServedTLS]:
    one = ServedTLS()
    yield one
    await one.stop()


@pytest_twisted.ensureDeferred
async def test_silence_and_half_a_head_end_with_a_goaway(served: ServedTLS) -> None:
    assert await served.talk(lambda client: client.end()) == 0

    def half(client: H2Client) -> int | None:
        assert client.reply(client.ask(head())).status == 200
        client.frame(HeadersFrame(3, b"\x82"))
        return client.end()

    assert await served.talk(half) == 0


@pytest_twisted.ensureDeferred
async def test_a_slow_body_gets_408_and_a_client_that_takes_nothing_is_cut(strict: ServedTLS) -> None:
    """Only its stream, and only once it has taken nothing for so long."""

    def run(client: H2Client) -> None:
        number = client.ask(head(b"POST", b"/work"), ended=False)
        assert client.reply(number).status == 408
        big = client.ask(head(b"GET", b"/big"))
        reply = client.reply(big)
        assert reply.reset == 8
        assert 65000 < len(reply.body) <= 65535  # of the connection's window, the 408 had some

    await strict.talk(run, greedy=False)
    assert [aborted for _, aborted in strict.site.ended] == [False, False]  # it was written


@pytest_twisted.ensureDeferred
async def test_replies_before_the_body_is_there(patient: ServedTLS) -> None:
    """The client is told to stop with NO_ERROR, after a while in which what it sends is dropped."""

    def run(client: H2Client) -> None:
        number = client.ask(head(b"POST", b"/early", (b"content-length", b"%d" % 4_000_000)), ended=False)
        client.send(number, b"x" * 300_000)
        reply = client.reply(number)
        assert bytes(reply.body) == b"early"
        client.until(lambda: reply.reset is not None)
        assert reply.reset == 0
        assert client.reply(client.ask(head())).status == 200

    await patient.talk(run)


@pytest_twisted.ensureDeferred
async def test_a_reset_cancels_who_works_on_it_and_a_closed_connection_everybody(patient: ServedTLS) -> None:
    def run(client: H2Client) -> None:
        numbers = [client.ask(head(b"POST", b"/work"), body=b"x") for _ in range(3)]
        while len(patient.app.waiting) < 3:
            client.reply(client.ask(head()))
        client.frames.reset_stream(numbers[0], 8)
        client.flush()
        while patient.app.cancelled < 1:
            client.reply(client.ask(head()))
        assert patient.app.cancelled == 1

    await patient.talk(run)
    await patient.until(lambda: patient.app.cancelled == 3)
    await patient.until(lambda: patient.site.connections == 0)


@pytest_twisted.ensureDeferred
async def test_draining(patient: ServedTLS) -> None:
    """First the client is asked to go elsewhere, then refused, and the reply that it waits for is the last."""

    def until_called() -> H2Client:
        client = H2Client(patient.port)
        client.ask(head(b"POST", b"/work"), body=b"x")
        return client

    client = await deferToThread(until_called)
    await patient.until(lambda: len(patient.app.waiting) == 1)
    patient.site.retire()

    def late() -> None:
        client.until(lambda: client.going)
        assert client.going is not None
        assert client.going.last_stream_id == 2**31 - 1
        client.frames.state_machine.state = type(client.frames.state_machine.state).CLIENT_OPEN
        assert client.reply(client.ask(head())).status == 200

    await deferToThread(late)
    patient.site.close_idle()

    def refused() -> None:
        client.going = None
        client.until(lambda: client.going)
        assert client.going is not None
        assert client.going.last_stream_id == 3
        client.frames.state_machine.state = type(client.frames.state_machine.state).CLIENT_OPEN
        assert client.reply(client.ask(head())).reset == 7

    await deferToThread(refused)
    patient.app.waiting[0].callback(b"last")

    def last() -> None:
        assert bytes(client.reply(1).body) == b"last"
        assert client.end() == 0
        client.sock.close()

    await deferToThread(last)
    await patient.until(lambda: patient.site.connections == 0)


@pytest_twisted.ensureDeferred
async def test_a_client_that_says_goaway_still_gets_its_reply(patient: ServedTLS) -> None:
    def run(client: H2Client) -> None:
        number = client.ask(head(b"GET", b"/big"))
        client.raw(b"\0\0\x08\x07\0" + bytes(12))
        reply = client.reply(number)
        assert (reply.ended, len(reply.body)) == (True, 4 * 1024 * 1024)

    await patient.talk(run)


@pytest_twisted.ensureDeferred
async def test_failures_and_replies_that_break_off(patient: ServedTLS, no_leaks: Any) -> None:
    no_leaks.expect(ZeroDivisionError)

    def run(client: H2Client) -> None:
        assert client.reply(client.ask(head(b"GET", b"/fail"))).status == 500
        bare = client.reply(client.ask(head(b"HEAD", b"/big")))
        assert (bare.fields[b"content-length"], bytes(bare.body)) == (b"%d" % (4 * 1024 * 1024), b"")
        star = client.reply(client.ask(head(b"OPTIONS", b"*")))
        assert b"POST" in star.fields[b"allow"]
        number = client.ask(head(b"GET", b"/stream"))
        client.until(lambda: client.replies[number].body)
        patient.reactor.callFromThread(patient.app.requests[-1].cut)
        patient.reactor.callFromThread(patient.app.requests[-1].finish)
        reply = client.reply(number)
        assert (reply.ended, reply.reset, bytes(reply.body)) == (False, 2, b"first")

    await patient.talk(run)
    patient.app.waiting[-1].callback(b"")


@pytest.mark.parametrize(
    ("http2", "offered", "agreed"),
    [
        (True, ["h2", "http/1.1"], "h2"),
        (True, ["http/1.1"], "http/1.1"),
        (True, [], None),
        (False, ["h2", "http/1.1"], "http/1.1"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_spoken_is_agreed_on(
    patient: ServedTLS, http2: bool, offered: list[str], agreed: str | None
) -> None:
    patient.site.limits = replace(QUICK, http2=http2)

    def run() -> bytes:
        raw = socket.create_connection(("127.0.0.1", patient.port), 10)
        with client_context(None, *offered).wrap_socket(raw) as client:
            assert client.selected_alpn_protocol() == agreed
            if agreed != "h2":
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return client.recv(4)

    begin = await deferToThread(run)
    assert (begin == b"HTTP") == (agreed != "h2")
    await patient.until(lambda: patient.site.connections == 0)


def test_what_the_client_would_have_remembered_is_not_kept() -> None:
    frames = Frames(QUICK)
    frames.begin()
    settings = SettingCodes.HEADER_TABLE_SIZE.to_bytes(2, "big") + b"\xff\xff\xff\xff"
    frames.receive_data(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0" + settings)
    frames.keep_table_small()
    assert frames.encoder.header_table_size == 4096
