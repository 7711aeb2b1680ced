"""paramUrl is a path on the worker and never anything else, however it is spelled."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngpu.errors import BadRequest
from ngpu.upstream.headers import request_line
from ngpu.wire.target import LONGEST, worker_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("", "/"),
        ("/", "/"),
        ("sdapi/v1/img2img", "/sdapi/v1/img2img"),
        ("/sdapi/v1/img2img", "/sdapi/v1/img2img"),
        ("run?a=1&b=http://x/../y", "/run?a=1&b=http://x/../y"),
        ("?q", "/?q"),
        ("a/b/", "/a/b/"),
        ("a//b", "/a//b"),
        ("a b", "/a%20b"),
        ("a%20b", "/a%20b"),
        ("a%2Fb", "/a%2Fb"),
        ("é/中?文", "/%C3%A9/%E4%B8%AD?%E6%96%87"),
        ("..a/b..", "/..a/b.."),
        ("a/...", "/a/..."),
        ("v1/models:predict", "/v1/models:predict"),
        ("a?b?c", "/a?b?c"),
        ("%25", "/%25"),
        ("a@b", "/a@b"),
    ],
)
def test_a_path_becomes_a_target(text: str, target: str) -> None:
    assert worker_target(text) == target


@pytest.mark.parametrize(
    "text",
    [
        "http://169.254.169.254/latest",
        "HTTPS://x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "//host/path",
        "///host",
        "a/http://b",
        "%68ttp://host",
        "http%3A%2F%2Fhost",
        "%2F%2Fhost",
        "/%2Fhost",
        "%252F%252Fhost",
        "..",
        ".",
        "../admin",
        "a/../b",
        "a/./b",
        "a/..",
        "%2e%2e/admin",
        "a/%2E%2e/b",
        "a/.%2e/b",
        "a%2f..%2fb",
        "%252e%252e/admin",
        "%25252e%25252e/admin",
        "a/..;x=1/b",
        "a/%2e%2e%3bx/b",
        "a\\b",
        "a%5c..%5cb",
        "..\\admin",
        "a%255cb",
        "a\nb",
        "a\r\nHost: x",
        "a\tb",
        "a\x00b",
        "a\x7fb",
        "a%00b",
        "a%0d%0aHost:x",
        "a%2500b",
        "a?b\nc",
        "a?b\x00",
        "a#b",
        "a?b#c",
        "100%",
        "a%zz",
        "a%2",
        "a?b=%",
        "%2525252525252541",
        "a" * (LONGEST + 1),
    ],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        worker_target(text)


class Seen:
    url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url


PIECES = st.sampled_from(["/", ".", "..", "%2e", "%2f", "%25", "\\", "?", "#", ":", "//", "@", " ", "a", "é", ";", '"'])


@given(st.text(max_size=30) | st.lists(PIECES, max_size=10).map("".join))
@settings(deadline=None, max_examples=300)
def test_every_accepted_target_can_be_sent_and_parses_as_it_is(text: str) -> None:
    try:
        target = worker_target(text).encode("ascii")
    except BadRequest:
        return
    seen = Seen()
    httptools.HttpRequestParser(seen).feed_data(request_line(b"POST", target) + b"Host: x\r\n\r\n")
    assert seen.url == target
    url = httptools.parse_url(target)
    assert url.host is None and url.schema is None
    assert {b".", b".."}.isdisjoint((url.path or b"/").split(b"/"))
