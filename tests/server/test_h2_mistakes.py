"""What is wrong with a request over HTTP/2 ends its stream or is answered; what is wrong with frames ends all."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from h2_client import Fields, H2Client, head
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from tls_rig import ServedTLS

PROTOCOL_ERROR, ENHANCE_YOUR_CALM = 1, 11
GET = head()


@pytest_twisted.async_yield_fixture
async def served() -> AsyncIterator[ServedTLS]:
    one = ServedTLS()
    yield one
    await one.stop()


MALFORMED: list[Fields] = [
    [*GET, (b"Upper", b"x")],
    [*GET, (b"a b", b"x")],
    [*GET, (b"", b"x")],
    [*GET, (b"a:b", b"x")],
    [*GET, (b"a", b"x\r\nhost: other")],
    [*GET, (b"a", b"x\0")],
    [*GET, (b"a", b" x")],
    [*GET, (b"connection", b"close")],
    [*GET, (b"transfer-encoding", b"chunked")],
    [*GET, (b"upgrade", b"websocket")],
    [*GET, (b"te", b"gzip")],
    [*GET, (b"host", b"other.test")],
    [*GET, (b"content-length", b"5")],
    [*GET, (b":other", b"x")],
    [*GET, (b":path", b"/")],
    [*GET[:3], (b"a", b"b"), GET[3]],
    GET[:3],
    GET[1:],
    [GET[0], *GET[2:]],
    head(b"GET", b""),
    head(b"GET", b"http://gw.test/"),
    [(b":method", b"GET"), (b":scheme", b"ftp"), *GET[2:]],
]


@pytest_twisted.ensureDeferred
async def test_what_is_no_request_ends_its_stream_and_nothing_else(served: ServedTLS) -> None:
    def run(client: H2Client) -> None:
        for fields in MALFORMED:
            reply = client.reply(client.ask(fields))
            assert (reply.reset, reply.fields) == (PROTOCOL_ERROR, {}), fields
        for trailers in ([(b":path", b"/")], [(b"X", b"y")]):
            number = client.ask(head(b"POST"), ended=False)
            client.frames.send_headers(number, trailers, end_stream=True)
            assert client.reply(number).reset == PROTOCOL_ERROR
        number = client.ask(head(b"POST", b"/", (b"content-length", b"9")), ended=False)
        client.frames.send_data(number, b"short")
        client.frames.send_headers(number, [(b"a", b"b")], end_stream=True)
        assert client.reply(number).reset == PROTOCOL_ERROR
        for length, data in ((b"9", b"short"), (b"3", b"too long")):
            number = client.ask(head(b"POST", b"/", (b"content-length", length)), ended=False)
            client.frame(DataFrame(number, data, flags=["END_STREAM"]))
            assert client.reply(number).reset == PROTOCOL_ERROR
        number = client.ask(head(b"POST", b"/early"), ended=False)
        assert client.reply(number).status == 200
        client.frames.send_headers(number, [(b":path", b"/")], end_stream=True)  # nobody reads them any more
        assert bytes(client.reply(client.ask(head(b"POST"), body=b"fine")).body) == b"ok fine"

    await served.talk(run, checked=False)
    assert served.app.bodies == [b"fine"]
    assert served.site.refused == [400] * (len(MALFORMED) + 6)


REFUSED: list[tuple[Fields, int]] = [
    (head(b"BREW"), 501),
    (head(b"TRACE"), 405),
    ([(b":method", b"CONNECT"), (b":authority", b"gw.test:443")], 405),
    (head(b"GET /evil HTTP/1.1"), 400),
    (head(b"GET", b"*"), 400),
    (head(b"GET", b"/a b"), 400),
    (head(b"GET", b"/a/../b"), 400),
    (head(b"GET", b"/a%2f%2e%2e/b"), 400),
    (head(b"GET", b"/%00"), 400),
    (head(b"GET", b"/#x"), 400),
    (head(b"GET", b"/" + b"x" * 9000), 414),
    ([(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a@b"), (b":path", b"/")], 400),
    ([(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/")], 400),
    (head(b"GET", b"/", *((b"a", b"b"),) * 101), 431),
    (head(b"GET", b"/", (b"a", b"b" * 70_000)), 431),
    (head(b"GET", b"/", (b"expect", b"tea")), 417),
    (head(b"POST", b"/", (b"content-length", b"x")), 400),
    (head(b"POST", b"/", (b"content-length", b"1"), (b"content-length", b"2")), 400),
]


@pytest_twisted.ensureDeferred
async def test_what_is_not_served_is_told_so(served: ServedTLS) -> None:
    """With the statuses that HTTP/1.1 has for it, and the stream beside it goes on."""

    def run(client: H2Client) -> None:
        for fields, status in REFUSED:
            reply = client.reply(client.ask(fields, ended=dict(fields)[b":method"] != b"POST"))
            assert reply.status == status, fields
            assert b'"result_code": %d' % status in reply.body
            assert (b"allow" in reply.fields) == (status == 405)

    await served.talk(run, checked=False)
    assert served.app.calls == []
    assert served.site.refused == [status for _, status in REFUSED]


@pytest.mark.parametrize("path", [b"/", b"/early"])
@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("more", [True, False])
@pytest_twisted.ensureDeferred
async def test_what_comes_in_one_go_with_a_reset_or_an_end_hurts_no_other_stream(
    served: ServedTLS, path: bytes, ended: bool, more: bool
) -> None:
    """Nor does it end in an error of ours: h2 has closed the stream by then, and forgotten it where one more came."""

    def run(client: H2Client) -> None:
        other = client.ask(head(b"POST"), ended=False)
        number = client.ask(head(b"POST", path), ended=False)
        if path == b"/early":
            assert client.reply(number).status == 200
        else:
            client.reply(client.ask(head(b"GET", b"/early")))  # so that the other one is being read
        client.frames.send_data(number, b"x" * 4000)
        client.frames.send_data(number, b"x" * 4000, end_stream=ended)
        if path == b"/" or not ended:
            client.frames.reset_stream(number)
        if more:
            client.ask(head())
        client.send(other, b"fine", ended=True)
        assert bytes(client.reply(other).body) == b"ok fine"

    await served.talk(run)
    assert served.site.refused == []
    assert [aborted for _, aborted in served.site.ended].count(True) == (path == b"/" and not ended)


def _headers(number: int, *flags: str) -> HeadersFrame:
    # :method GET, :scheme https, :path /, :authority a
    return HeadersFrame(number, b"\x82\x87\x84\x41\x01a", flags=["END_HEADERS", *flags])


def _stuck(number: int) -> HeadersFrame:
    return HeadersFrame(number, b"\x83\x87\x04\x06/stuck\x41\x01a", flags=["END_HEADERS"])


def _open(*frames: Frame) -> list[Frame]:
    return [_headers(1), *frames]


FLOODS: list[tuple[list[Frame], int]] = [
    ([PingFrame(0, b"12345678")] * 200, ENHANCE_YOUR_CALM),
    ([SettingsFrame(0)] * 60, ENHANCE_YOUR_CALM),
    ([PriorityFrame(9)] * 800, ENHANCE_YOUR_CALM),
    ([ExtensionFrame(99, 0)] * 200, ENHANCE_YOUR_CALM),
    ([WindowUpdateFrame(0, 1)] * 1500, ENHANCE_YOUR_CALM),
    (_open(*[DataFrame(1)] * 200), ENHANCE_YOUR_CALM),
    ([each for n in range(1, 900, 2) for each in (_headers(n), RstStreamFrame(n, 8))], ENHANCE_YOUR_CALM),
    ([each for n in range(1, 900, 2) for each in (_headers(n, "END_STREAM"), WindowUpdateFrame(n, 2**31 - 1))], 11),
    ([HeadersFrame(1, b"\x82"), *[ContinuationFrame(1)] * 100], PROTOCOL_ERROR),
    ([HeadersFrame(1, b"\x82"), *[ContinuationFrame(1, b"\x40\x01a\x7f\x80\x7e" + b"b" * 255)] * 63], 1),
    ([_headers(n) for n in range(1, 400, 2)], PROTOCOL_ERROR),
    ([HeadersFrame(1, b"\x82"), PingFrame(0)], PROTOCOL_ERROR),
    ([DataFrame(1, b"x")], PROTOCOL_ERROR),
    ([_headers(2)], PROTOCOL_ERROR),
    ([HeadersFrame(1, b"\xff\xff\xff\xff\xff", flags=["END_HEADERS"])], 1),
    (_open(DataFrame(1, b"x" * 20_000)), 6),
    ([_stuck(1), *[DataFrame(1, b"x" * 16_000)] * 5], 3),
]


@pytest.mark.parametrize(("frames", "code"), FLOODS)
@pytest_twisted.ensureDeferred
async def test_a_flood_or_a_broken_frame_ends_the_connection(served: ServedTLS, frames: list[Frame], code: int) -> None:
    """With the code that says what it was, whether there are requests or not; nobody is left working for it."""

    def run(client: H2Client) -> int | None:
        client.greedy = False
        client.raw(b"".join(each.serialize() for each in frames))
        return client.end()

    assert await served.talk(run, greedy=False) == code
    await served.until(lambda: served.site.connections == 0)
    assert all(aborted for _, aborted in served.site.ended)
    assert len(served.app.calls) <= 220
