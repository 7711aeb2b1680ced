"""RFC 9112 and 9110, request by request: what is served, what is refused, and that nothing behind a refusal runs."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from server_rig import Served, fake, read_replies

SECOND = b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n"


class Case(NamedTuple):
    name: str
    raw: bytes
    status: int
    uri: bytes = b"/"


def get(target: bytes = b"/", *fields: bytes, host: bytes = b"Host: a", method: bytes = b"GET") -> bytes:
    lines = [method + b" " + target + b" HTTP/1.1", *([host] if host else []), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return get(b"/", *fields, method=b"POST") + body


def target(name: str, value: bytes, status: int) -> Case:
    return Case(f"target {name}", get(value), status, value)


CHUNKED = b"Transfer-Encoding: chunked"

SERVED = [
    Case("plain", get(), 200),
    Case("one empty line first", b"\r\n" + get(), 200),
    Case("http/1.0 without host", b"GET / HTTP/1.0\r\n\r\n", 200),
    Case("content-length", post(b"Content-Length: 5", body=b"hello"), 200),
    Case("content-length zero", post(b"Content-Length: 0"), 200),
    Case("content-length with leading zeros", post(b"Content-Length: 0005", body=b"hello"), 200),
    Case("content-length with space around", post(b"Content-Length:  \t5 \t", body=b"hello"), 200),
    Case("body on GET", get(b"/", b"Content-Length: 5") + b"hello", 200),
    Case("chunked", post(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"), 200),
    Case("chunked in capitals", post(b"Transfer-Encoding: CHUNKED", body=b"5\r\nhello\r\n0\r\n\r\n"), 200),
    Case("chunk size with zeros", post(CHUNKED, body=b"0005\r\nhello\r\n000\r\n\r\n"), 200),
    Case("chunk extensions", post(CHUNKED, body=b'5;a;b=c;d="e;\\"f"\r\nhello\r\n0;x\r\n\r\n'), 200),
    Case("trailers", post(CHUNKED, body=b"5\r\nhello\r\n0\r\nX-A: b\r\nX-C:\r\n\r\n"), 200),
    Case("upgrade is ignored", get(b"/", b"Upgrade: h2c", b"Connection: Upgrade"), 200),
    Case("upgrade with a body", post(b"Upgrade: x", b"Connection: upgrade", b"Content-Length: 5", body=b"hello"), 200),
    Case(
        "upgrade, chunked", post(b"Upgrade: x", b"Connection: upgrade", CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"), 200
    ),
    Case("empty value", get(b"/", b"X-Empty:", b"X-Blank:  "), 200),
    Case("tab in a value", get(b"/", b"X-A: b\tc"), 200),
    Case("latin-1 in a value", get(b"/", b"X-A: \xe9"), 200),
    Case("host with port", get(host=b"Host: a.example:8080"), 200),
    Case("host with empty port", get(host=b"Host: a.example:"), 200),
    Case("host is ipv6", get(host=b"Host: [::1]:8080"), 200),
    Case("host with underscore", get(host=b"Host: gpu_1"), 200),
    Case("absolute-form", get(b"http://a/x?y"), 200, b"/x?y"),
    Case("absolute-form, other authority", get(b"http://other:81/x"), 200, b"/x"),
    Case("absolute-form without path", get(b"HTTP://a?y"), 200, b"/?y"),
    Case("expect", post(b"Expect: 100-Continue", b"Content-Length: 5", body=b"hello"), 200),
    target("the document's ampersand", b"/user/queryTask&taskID=1", 200),
    target("escaped", b"/a%20%C3%A9", 200),
    target("query of all sorts", b"/?a=..&b=//&c=%2F%2e%2e&d=http://x/?y\\[]{}|<>\"^`'&e=%FF", 200),
    target("dots in names", b"/a..b/.c/d./...", 200),
    target("two slashes in the query", b"/?//../", 200),
]

REFUSED = [
    # framing
    Case("te identity", post(b"Transfer-Encoding: identity"), 400),
    Case("te gzip", post(b"Transfer-Encoding: gzip", body=b"0\r\n\r\n"), 400),
    Case("te gzip, chunked", post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 400),
    Case("te chunked, chunked", post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), 400),
    Case("te chunked twice", post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), 400),
    Case("te chunked, identity", post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"), 400),
    Case("te xchunked", post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 400),
    Case("te empty", post(b"Transfer-Encoding:", body=b"0\r\n\r\n"), 400),
    Case("te with a comma", post(b"Transfer-Encoding: ,chunked", body=b"0\r\n\r\n"), 400),
    Case("te with a parameter", post(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"), 400),
    Case("te after vertical tab", post(b"Transfer-Encoding:\x0bchunked", body=b"0\r\n\r\n"), 400),
    Case("te and cl", post(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"), 400),
    Case("cl and te", post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"), 400),
    Case("te in 1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    Case("cl twice", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), 400),
    Case("cl twice, different", post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"), 400),
    Case("cl with comma", post(b"Content-Length: 5, 5", body=b"hello"), 400),
    Case("cl signed", post(b"Content-Length: +5", body=b"hello"), 400),
    Case("cl negative", post(b"Content-Length: -5", body=b"hello"), 400),
    Case("cl hex", post(b"Content-Length: 0x5", body=b"hello"), 400),
    Case("cl with underscore", post(b"Content-Length: 1_0", body=b"hello"), 400),
    Case("cl empty", post(b"Content-Length:"), 400),
    Case("cl in two words", post(b"Content-Length: 5 5", body=b"hello"), 400),
    Case("cl of 5000 digits", post(b"Content-Length: " + b"9" * 5000), 400),
    Case("cl of 5000 zeros", post(b"Content-Length: " + b"0" * 5000), 400),
    Case("cl of 2^64", post(b"Content-Length: 18446744073709551616"), 400),
    Case("cl in arabic digits", post(b"Content-Length: \xd9\xa5", body=b"hello"), 400),
    # host
    Case("no host", get(host=b""), 400),
    Case("two hosts", get(b"/", b"Host: b"), 400),
    Case("two equal hosts", get(b"/", b"Host: a"), 400),
    Case("host empty", get(host=b"Host:"), 400),
    Case("host with space", get(host=b"Host: a b"), 400),
    Case("host with comma", get(host=b"Host: a,b"), 400),
    Case("host with user", get(host=b"Host: u@a"), 400),
    Case("host with path", get(host=b"Host: a/b"), 400),
    Case("host with bad port", get(host=b"Host: a:8o"), 400),
    Case("host not ascii", get(host=b"Host: \xc3\xa9"), 400),
    Case("host with empty label", get(host=b"Host: a..b"), 400),
    Case("host with long label", get(host=b"Host: " + b"a" * 64), 400),
    Case("host half ipv6", get(host=b"Host: [::1"), 400),
    Case("two hosts in 1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    # request line
    Case("http/0.9", b"GET /\r\n\r\n", 400),
    Case("http/0.9 with version", b"GET / HTTP/0.9\r\n\r\n", 505),
    Case("http/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    Case("http/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    Case("http/11", b"GET / HTTP/11\r\nHost: a\r\n\r\n", 400),
    Case("small http", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    Case("another protocol", b"GET / ICY/1.0\r\nHost: a\r\n\r\n", 400),
    Case("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    Case("tab", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    Case("space behind", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    Case("space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    Case("space before", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    Case("two empty lines before", b"\r\n\r\n" + get(), 400),
    Case("bare lf before", b"\n" + get(), 400),
    Case("bare cr before", b"\r" + get(), 400),
    Case("tls hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(30), 400),
    Case("connect", b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    Case("trace", get(method=b"TRACE"), 405),
    Case("unknown method", get(method=b"BREW"), 501),
    Case("small method", get(method=b"get"), 501),
    Case("method no token", get(method=b"G(T"), 400),
    # target
    target("fragment", b"/a#b", 400),
    target("fragment in query", b"/a?b#c", 400),
    target("no slash", b"a", 400),
    target("user before host", b"@a/", 400),
    target("authority", b"a:80", 400),
    target("asterisk for GET", b"*", 400),
    target("other scheme", b"ftp://a/", 400),
    target("absolute with user", b"http://u@a/", 400),
    target("absolute without host", b"http:///a", 400),
    target("broken escape", b"/%zz", 400),
    target("cut escape", b"/%2", 400),
    target("broken escape in query", b"/?a=%g0", 400),
    target("nul", b"/a%00", 400),
    target("nul in query", b"/?a=%00", 400),
    target("control", b"/a\x01", 400),
    target("del", b"/a\x7f", 400),
    target("not ascii", b"/\xc3\xa9", 400),
    target("not ascii in query", b"/?\xc3\xa9", 400),
    target("not utf-8 when unescaped", b"/%ff", 400),
    target("backslash", b"/a\\b", 400),
    target("escaped backslash", b"/a%5Cb", 400),
    target("dot dot", b"/a/../b", 400),
    target("dot dot at the end", b"/a/..", 400),
    target("dot", b"/./a", 400),
    target("escaped dots", b"/%2e%2E/a", 400),
    target("half escaped dots", b"/.%2e", 400),
    target("escaped slash", b"/a%2fb", 400),
    target("absolute with dots", b"http://a/../b", 400),
    # fields
    Case("obs-fold", get(b"/", b"X-A: b\r\n c"), 400),
    Case("obs-fold first", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    Case("space before colon", get(b"/", b"X-A : b"), 400),
    Case("tab before colon", get(b"/", b"X-A\t: b"), 400),
    Case("space before colon of cl", post(b"Content-Length : 5", body=b"hello"), 400),
    Case("no colon", get(b"/", b"X-A"), 400),
    Case("empty name", get(b"/", b": b"), 400),
    Case("nul in a value", get(b"/", b"X-A: b\0c"), 400),
    Case("cr in a value", get(b"/", b"X-A: b\rc"), 400),
    Case("lf in a value", get(b"/", b"X-A: b\nX-B: c"), 400),
    Case("control in a value", get(b"/", b"X-A: b\x08"), 400),
    Case("del in a value", get(b"/", b"X-A: b\x7f"), 400),
    Case("control in a name", get(b"/", b"X\x01A: b"), 400),
    Case("bracket in a name", get(b"/", b"X[A]: b"), 400),
    Case("not ascii in a name", get(b"/", b"X\xe9: b"), 400),
    Case("bare lf line ends", b"GET / HTTP/1.1\nHost: a\n\n", 400),
    Case("bare lf after the head", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    Case("bare lf after the line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    Case("bare cr line ends", b"GET / HTTP/1.1\rHost: a\r\r\n\r\n", 400),
    Case("another expectation", post(b"Expect: 200-ok", b"Content-Length: 0"), 417),
    Case("two expectations", post(b"Expect: 100-continue, x", b"Content-Length: 0"), 417),
    # chunks
    Case("chunk size no hex", post(CHUNKED, body=b"g\r\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk size empty", post(CHUNKED, body=b"\r\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk size with 0x", post(CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk size signed", post(CHUNKED, body=b"+5\r\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk size negative", post(CHUNKED, body=b"-5\r\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk size with underscore", post(CHUNKED, body=b"0_5\r\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk size overflow", post(CHUNKED, body=b"10000000000000005\r\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk size of 5000 digits", post(CHUNKED, body=b"0" * 5000 + b"5\r\nhello\r\n0\r\n\r\n"), 400),
    Case("space before chunk size", post(CHUNKED, body=b" 5\r\nhello\r\n0\r\n\r\n"), 400),
    Case("space after chunk size", post(CHUNKED, body=b"5 \r\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk too short", post(CHUNKED, body=b"6\r\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk too long", post(CHUNKED, body=b"4\r\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk ends with lf", post(CHUNKED, body=b"5\r\nhello\n0\r\n\r\n"), 400),
    Case("chunk size ends with lf", post(CHUNKED, body=b"5\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk size ends with cr", post(CHUNKED, body=b"5\rhello\r\n0\r\n\r\n"), 400),
    Case("chunk extension is garbage", post(CHUNKED, body=b"5;a b\r\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk extension with lf", post(CHUNKED, body=b"5;a\nhello\r\n0\r\n\r\n"), 400),
    Case("chunk extension is huge", post(CHUNKED, body=b"5;" + b"a" * 9000 + b"\r\nhello\r\n0\r\n\r\n"), 400),
    Case("many chunk extensions", post(CHUNKED, body=(b"1;" + b"a" * 200 + b"\r\nx\r\n") * 99 + b"0\r\n\r\n"), 400),
    Case("trailer without colon", post(CHUNKED, body=b"0\r\nGET / HTTP/1.1\r\n\r\n"), 400),
    Case("trailer with space before colon", post(CHUNKED, body=b"0\r\nX : a\r\n\r\n"), 400),
    Case("trailer folded", post(CHUNKED, body=b"0\r\nX: a\r\n b\r\n\r\n"), 400),
    Case("trailer with nul", post(CHUNKED, body=b"0\r\nX: \0\r\n\r\n"), 400),
    Case("trailer ends with lf", post(CHUNKED, body=b"0\r\nX: a\n\r\n"), 400),
    Case("trailers too long", post(CHUNKED, body=b"0\r\n" + (b"X: " + b"a" * 9000 + b"\r\n") * 8), 431),
    Case("too many trailers", post(CHUNKED, body=b"0\r\n" + b"X: a\r\n" * 101 + b"\r\n"), 431),
    # limits of the head
    Case("target too long", get(b"/" + b"a" * 8192), 414),
    Case("endless target", b"GET /" + b"a" * 9000, 414),
    Case("too many fields", get(b"/", *(b"X-%d: a" % i for i in range(100))), 431),
    Case("head too long", get(b"/", *(b"X-%d: " % i + b"a" * 9000 for i in range(8))), 431),
    Case("too many query parts", get(b"/?" + b"a&" * 1000), 400),
]


def ids(case: Case) -> str:
    return case.name


def test_the_matrix_is_as_large_as_it_says() -> None:
    names = [case.name for case in SERVED + REFUSED]
    assert len(names) == len(set(names)) > 150


@pytest.mark.parametrize("case", SERVED, ids=ids)
@pytest_twisted.ensureDeferred
async def test_served(served: Served, case: Case) -> None:
    """A good request reaches the application with its body, and the request behind it is a request of its own."""
    wire = await served.send(case.raw + SECOND)
    kept = b" HTTP/1.0\r\n" not in case.raw
    replies = await wire.replies(1 + kept)
    assert [reply.status for reply in replies] == [200] * (1 + kept)
    assert [uri for _, uri in served.app.calls] == [case.uri, b"/second"][: 1 + kept]
    assert served.app.bodies[0] == (b"hello" if b"hello" in case.raw else b"")
    if not kept:
        await wire.until_closed()
        assert replies[0].fields[b"connection"] == b"close"
    assert wire.closed is not kept
    assert served.site.refused == []


@pytest.mark.parametrize("case", REFUSED, ids=ids)
@pytest_twisted.ensureDeferred
async def test_refused(served: Served, case: Case) -> None:
    """A bad request gets its status as JSON and a closed connection; neither it nor what follows it ever runs."""
    wire = await served.send(case.raw + SECOND)
    await wire.until_closed()
    (reply,) = await wire.replies(1)
    assert reply.status == case.status
    assert reply.fields[b"connection"] == b"close"
    assert reply.fields[b"content-type"] == b"application/json"
    assert reply.fields[b"date"].endswith(b" GMT")
    told = json.loads(reply.body)
    assert told.keys() == {"result_code", "msg"}
    assert told["result_code"] == case.status
    assert told["msg"].endswith(".")
    assert served.app.bodies == []  # of a request with a bad body the head may have arrived
    assert (b"GET", b"/second") not in served.app.calls
    assert (b"allow" in reply.fields) is (case.status == 405)


@pytest_twisted.ensureDeferred
async def test_options_star(served: Served) -> None:
    """`OPTIONS *` asks about the server itself."""
    wire = await served.send(get(b"*", method=b"OPTIONS") + SECOND)
    star, second = await wire.replies(2)
    assert star.status == second.status == 200
    assert b"GET" in star.fields[b"allow"]


@pytest_twisted.ensureDeferred
async def test_the_authority_of_an_absolute_target_is_the_host(served: Served) -> None:
    """RFC 9112 §3.2.2: Host is ignored there, so nobody above can be told two hosts."""
    wire = await served.send(get(b"http://other:81/x"))
    await wire.replies(1)
    assert served.app.requests[0].requestHeaders.getRawHeaders(b"host") == [b"other:81"]


def test_raw_paths_are_let_through_where_they_are_allowed() -> None:
    """`..` and escaped slashes pass under /proxy/ only; what is broken passes nowhere."""
    for path, status in [
        (b"/proxy/a/../b", 200),
        (b"/proxy/a%2Fb", 200),
        (b"/proxy/%2e%2e/b", 200),
        (b"/other/a%2Fb", 400),
        (b"/other/..", 400),
        (b"/proxy/%00", 400),
        (b"/proxy/a\\b", 400),
        (b"/proxy/%", 400),
    ]:
        with fake(raw_path=lambda path: path.startswith(b"/proxy/")) as one:
            one.feed(get(path))
            assert (path, [reply.status for reply in one.replies()]) == (path, [status])
            assert [uri for _, uri in one.app.calls] == ([path] if status == 200 else [])


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\rHost: a\r\r",
        b"GET / HTTP/1.1\r\nHost: a\n",
        b"\x16\x03\x01",
        b"BREW / HTTP/1.1\r\n",
    ],
)
def test_what_is_wrong_already_is_refused_at_once(raw: bytes) -> None:
    """No client is left to wait for the head's time to run out when no byte could make it right, however it is cut."""
    for pieces in ([raw], [raw[i : i + 1] for i in range(len(raw))]):
        out, _, _, refused = run(pieces)
        assert len(read_replies(out)) == len(refused) == 1


def run(pieces: list[bytes]) -> tuple[bytes, list[bytes], bool, list[int]]:
    """What comes out of one connection, and what the application did with what it got."""
    with fake() as one:
        for piece in pieces:
            one.feed(piece)
        out = one.out.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")  # left out where the body is here already
        return out, one.app.bodies, (b"GET", b"/second") in one.app.calls, one.site.refused


@pytest.mark.parametrize("case", SERVED + REFUSED, ids=ids)
def test_byte_by_byte(case: Case) -> None:
    """How the bytes are split changes nothing."""
    raw = case.raw + SECOND
    whole = run([raw])
    if len(raw) < 2500:  # the long ones are split below, at random
        assert run([raw[i : i + 1] for i in range(len(raw))]) == whole
    assert len(read_replies(whole[0])) == (1 if case in REFUSED or b" HTTP/1.0\r\n" in raw else 2)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), case=st.sampled_from(SERVED + REFUSED))
def test_split_anywhere(data: st.DataObject, case: Case) -> None:
    """The same at random places."""
    raw = case.raw + SECOND
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True) if end > start]
    assert run(pieces) == run([raw])
