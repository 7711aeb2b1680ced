"""Replies: one framing field, bodies where they belong, fields that stay in their lines, and Klein unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from server_rig import Fake, fake, read_replies
from twisted.web.http_headers import Headers

from ngpu.http.server import error_body, plain_error
from ngpu.http.server.reply import frame, reply_head


def get(path: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    return method + b" " + path + b" HTTP/" + version + b"\r\nHost: a\r\n\r\n"


@pytest.fixture
def one() -> Iterator[Fake]:
    with fake() as made:
        yield made


def test_a_reply_of_bytes_has_its_length_and_is_one_write(one: Fake) -> None:
    writes: list[bytes] = []
    write = one.transport.write
    one.transport.write = lambda data: (writes.append(data), write(data))
    one.feed(get(b"/"))
    assert len(writes) == 1
    (reply,) = one.replies()
    assert reply.fields == {
        b"server": b"ngpu",
        b"date": b"Thu, 01 Jan 1970 00:00:00 GMT",
        b"content-length": b"3",
    }


def test_a_stream_is_chunked_and_its_first_piece_does_not_wait(one: Fake) -> None:
    one.feed(get(b"/stream"))
    assert one.out.endswith(b"\r\n\r\n5\r\nfirst\r\n")
    one.app.waiting[0].callback(b"second")
    assert one.out.endswith(b"6\r\nsecond\r\n")
    one.app.waiting[1].callback(b"")
    one.turn()
    (reply,) = one.replies()
    assert reply.body == b"firstsecond"
    assert reply.fields[b"transfer-encoding"] == b"chunked"
    assert not one.closed


def test_a_stream_to_http_1_0_ends_with_the_connection(one: Fake) -> None:
    one.feed(get(b"/stream", version=b"1.0"))
    one.app.waiting[0].callback(b"")
    one.turn()
    assert one.closed
    (reply,) = one.replies()
    assert reply.body == b"first"
    assert b"transfer-encoding" not in reply.fields


def test_head_has_the_length_and_no_body(one: Fake) -> None:
    one.feed(get(b"/early", b"HEAD") + get(b"/early"))
    head, full = read_replies(one.out, (b"HEAD",))
    assert head.fields == full.fields
    assert full.body == b"early"


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(one: Fake, status: int) -> None:
    one.feed(get(b"/work"))
    one.app.requests[0].setResponseCode(status)
    one.app.waiting[0].callback(b"dropped")
    one.feed(get(b"/early"))
    bare, full = one.replies()
    assert (bare.status, bare.body) == (status, b"")
    assert not {b"content-length", b"transfer-encoding"} & bare.fields.keys()
    assert full.body == b"early"


def test_only_the_server_writes_framing(one: Fake) -> None:
    """What an application copies from elsewhere cannot give a reply two lengths."""
    one.feed(get(b"/work"))
    fields = one.app.requests[0].responseHeaders
    for name in (b"Transfer-Encoding", b"Connection", b"Server", b"Date", b"Keep-Alive"):
        fields.setRawHeaders(name, [b"other"])
    one.app.waiting[0].callback(b"body")
    one.turn()
    (reply,) = one.replies()
    assert reply.fields.keys() == {b"server", b"date", b"content-length"}
    assert reply.fields[b"server"] == b"ngpu"


def test_an_application_can_ask_for_the_end(one: Fake) -> None:
    one.feed(get(b"/work"))
    one.app.requests[0].setHeader(b"connection", b"close")
    one.app.waiting[0].callback(b"body")
    one.turn()
    assert one.replies()[0].fields[b"connection"] == b"close"
    assert one.closed


@pytest.mark.parametrize("value", [b"a\r\nSet-Cookie: b", b"a\nb", b"a\rb", b"a\0b", "a\r\nb"])
def test_a_field_cannot_break_out_of_its_line(one: Fake, value: Any) -> None:
    one.feed(get(b"/work"))
    with pytest.raises(ValueError, match="control"):
        one.app.requests[0].setHeader(b"X-A", value)
    one.app.waiting[0].callback(b"")


def test_nor_can_one_that_came_past_setHeader() -> None:
    """twisted.web puts spaces where line ends were; anything else is refused when the head is written."""
    fields = Headers()
    fields.addRawHeader(b"X-A", b"a\r\nSet-Cookie: b")
    head = reply_head(200, fields.getAllRawHeaders(), frame(200, b"GET", b"HTTP/1.1", 0), False, b"now")
    assert b"\r\nSet-Cookie" not in head
    with pytest.raises(ValueError, match="control"):
        reply_head(200, [(b"X-A", [b"a\0"])], frame(200, b"GET", b"HTTP/1.1", 0), False, b"now")
    with pytest.raises(ValueError, match="status"):
        reply_head(999, [], frame(999, b"GET", b"HTTP/1.1", 0), False, b"now")


def test_a_reason_cannot_break_out_of_its_line(one: Fake) -> None:
    one.feed(get(b"/work"))
    one.app.requests[0].setResponseCode(200, b"OK\r\nX: y")
    one.app.waiting[0].callback(b"")
    one.turn()
    assert b"X: y" not in one.out


def test_less_than_was_promised_cuts_the_connection(one: Fake) -> None:
    """Else the next reply would be read as the rest of this one."""
    one.feed(get(b"/work") + get(b"/early"))
    one.app.requests[0].setHeader(b"content-length", b"10")
    one.app.waiting[0].callback(b"four")
    one.turn()
    assert one.transport.disconnected
    assert len(one.app.calls) == 1
    assert [aborted for _, aborted in one.site.ended] == [True]


def test_more_than_was_promised_cuts_the_connection(one: Fake) -> None:
    one.feed(get(b"/stream"))
    with fake() as two:
        two.feed(get(b"/work"))
        request = two.app.requests[0]
        request.setHeader(b"content-length", b"4")
        request.write(b"four")
        with pytest.raises(ValueError, match="longer"):
            request.write(b"five")
        assert two.transport.disconnected
        assert two.out.endswith(b"\r\n\r\nfour")
    one.app.waiting[0].callback(b"")


def test_what_nobody_handles_is_500_and_says_nothing(no_leaks: Any) -> None:
    no_leaks.expect(ZeroDivisionError)
    with fake() as one:
        one.feed(get(b"/fail") + get(b"/early"))
        failed, fine = one.replies()
        assert failed.status == 500
        assert failed.fields[b"content-type"] == b"application/json"
        assert b"the test wants this" not in failed.body
        assert fine.status == 200


def test_klein_answers_what_it_has_no_route_for() -> None:
    from klein import Klein
    from server_rig import QUICK
    from twisted.internet.task import Clock
    from twisted.internet.testing import StringTransport

    from ngpu.http.server import Site

    site = Site(Klein().resource(), Clock(), QUICK)
    channel, transport = site.buildProtocol(None), StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(get(b"/nothing"))
    assert [reply.status for reply in read_replies(transport.value())] == [404]


def test_the_request_is_as_twisted_web_has_it(one: Fake) -> None:
    one.feed(b"PUT /a%20b/c?x=1&x=2&y=%20&z= HTTP/1.1\r\nhost: h:1\r\nx-a: 1\r\nX-A: 2\r\nContent-Type: a/b\r\n\r\n")
    (request,) = one.app.requests
    assert (request.method, request.uri, request.path) == (b"PUT", b"/a%20b/c?x=1&x=2&y=%20&z=", b"/a%20b/c")
    assert request.args == {b"x": [b"1", b"2"], b"y": [b" "], b"z": [b""]}
    assert request.clientproto == b"HTTP/1.1"
    assert request.requestHeaders.getRawHeaders(b"x-a") == [b"1", b"2"]
    assert request.getHeader("Content-Type") == "a/b"
    assert request.getRequestHostname() == b"h"
    assert request.client == one.transport.getPeer()
    assert request.content is None


def test_a_form_in_the_body_is_not_parsed(one: Fake) -> None:
    one.feed(
        b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 3\r\n\r\na=b"
    )
    assert one.app.requests[0].args == {}


def test_a_large_reply_is_handed_over_piece_by_piece(one: Fake) -> None:
    """A transport that has enough is given no more, and the producer of a reply waits with it."""
    one.feed(get(b"/work"))
    write = one.transport.write

    def write_and_pause(data: bytes) -> None:
        assert len(data) <= 256 * 1024
        write(data)
        one.transport.producer.pauseProducing()

    one.transport.write = write_and_pause
    one.app.waiting[0].callback(b"x" * 1_000_000)
    sizes = [len(one.out)]
    while not one.replies():
        one.transport.producer.resumeProducing()
        sizes.append(len(one.out))
    assert len(sizes) > 3


class Pushed:
    """An IPushProducer that counts what it is told."""

    paused = 0

    def pauseProducing(self) -> None:
        self.paused += 1

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...


def test_a_producer_does_not_outlive_its_reply(one: Fake) -> None:
    one.feed(get(b"/work"))
    request, producer = one.app.requests[0], Pushed()
    request.registerProducer(producer, True)
    one.transport.producer.pauseProducing()
    one.transport.producer.resumeProducing()
    request.finish()
    one.transport.producer.pauseProducing()
    assert producer.paused == 1


class Pulled:
    """An IPullProducer of three pieces."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self.left = 3

    def resumeProducing(self) -> None:
        self.left -= 1
        self.request.write(b"piece")
        if self.left == 0:
            self.request.unregisterProducer()
            self.request.finish()

    def stopProducing(self) -> None: ...


def test_pull_producers_work(one: Fake) -> None:
    """twisted.web's static files are such."""
    one.feed(get(b"/work"))
    request = one.app.requests[0]
    request.registerProducer(Pulled(request), False)
    one.turn()
    assert [reply.body for reply in one.replies()] == [b"piece" * 3]


def test_an_error_reply_can_be_read_by_anybody() -> None:
    raw = plain_error(400, "Für dich.", b"now")
    (reply,) = read_replies(raw)
    assert reply.body == error_body(400, "Für dich.") == b'{"result_code": 400, "msg": "F\\u00fcr dich."}'
