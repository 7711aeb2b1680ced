"""Which fields cross the gateway, in both directions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from ngpu.errors import BadRequest, DialFailed
from ngpu.upstream.headers import Fields, block, pairs, reply_fields, request_fields
from ngpu.upstream.origin import Origin, authority_of, origin_of

NEVER = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Host",
    "Content-Length",
    "Expect",
]
NEVER_SENT = [
    "Authorization",
    "Token",
    "BtcAddress",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Whatever",
    "X-Real-IP",
]


@pytest.mark.parametrize("name", [*NEVER, *NEVER_SENT])
@pytest.mark.parametrize("spell", [str.lower, str.upper, str])
def test_fields_that_do_not_cross(name: str, spell) -> None:  # type: ignore[no-untyped-def]
    """In whatever case; what is ours only is a worker's to send back."""
    kept = (b"X-Kept", b"1")
    fields = (kept, (spell(name).encode(), b"v"), kept)
    assert request_fields(fields) == (kept, kept)
    assert (reply_fields(fields) == (kept, kept)) == (name in NEVER)


@pytest.mark.parametrize("names", [b"X-One, x-TWO", b" x-one\t,,X-Two ,close", b"x-one,x-two,content-type"])
def test_fields_that_connection_names_do_not_cross(names: bytes) -> None:
    """RFC 9110 §7.6.1; also where Connection comes after them, and more than once."""
    fields = (
        (b"X-One", b"1"),
        (b"Connection", b"keep-alive"),
        (b"CONNECTION", names),
        (b"X-Two", b"2"),
        (b"X-Three", b"3"),
    )
    assert request_fields(fields) == reply_fields(fields) == ((b"X-Three", b"3"),)


@given(st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=6)), max_size=4))
def test_a_block_reads_back_as_what_was_written(fields: list[tuple[bytes, bytes]]) -> None:
    """Whatever the bytes: as many lines as fields, each with its own name, or none at all."""
    try:
        lines = block(fields)
    except BadRequest:
        return
    assert [tuple(line.split(b": ", 1)) for line in lines.split(b"\r\n")[:-1]] == fields


def test_fields_look_like_headers_to_treq() -> None:
    """Order and case for us, grouped and respelled for those who expect Twisted's."""
    fields = Fields([(b"x-b", b"1"), (b"ETAG", b"2"), (b"X-B", b"3")])
    assert pairs(fields) == ((b"x-b", b"1"), (b"ETAG", b"2"), (b"X-B", b"3"))
    assert pairs(fields.copy()) == ((b"X-B", b"1"), (b"X-B", b"3"), (b"ETag", b"2"))
    assert pairs(None) == ()
    assert fields.hasHeader(b"etag")
    assert fields.getRawHeaders(b"none", [b"default"]) == [b"default"]
    assert fields == Fields(fields.fields)
    assert isinstance(fields, Headers)
    for change in (
        lambda: fields.setRawHeaders("a", ["b"]),
        lambda: fields.addRawHeader("a", "b"),
        lambda: fields.removeHeader("a"),
    ):
        with pytest.raises(TypeError, match="read-only"):
            change()


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("::1", "[::1]:80"),
        ("fe80::1%lo", "[fe80::1%lo]:80"),
        ("gpu_1.Example", "gpu_1.Example:80"),
        ("grün.example", "xn--grn-ioa.example:80"),
    ],
)
def test_hosts_in_urls(host: str, authority: str) -> None:
    """Brackets, IDNA, and back."""
    assert authority_of(host, 80) == authority
    assert origin_of(authority.encode()) == Origin(authority[:-3].strip("[]"), 80)


@pytest.mark.parametrize("host", ["", "a/b", "a b", "u@h", "a:b", "a#b", "a?b", "a\r\nb", "[::1]", "a\x00"])
def test_hosts_that_would_change_the_url(host: str) -> None:
    """A slash in a configured host would move the target, an `@` the host."""
    with pytest.raises(DialFailed, match="no host name"):
        authority_of(host, 80)
