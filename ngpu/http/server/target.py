"""Pure checks of a request's method, target and Host (RFC 9112 §3, RFC 3986)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ngpu.http.server.limits import Limits
from ngpu.http.server.refusal import Refused
from ngpu.memo import Memo

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
"""The methods that are served; CONNECT and TRACE get 405, others 501."""

ALLOW = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

RawPath = Callable[[bytes], bool]
"""Says of a path, as it was sent, that it may hold ``..`` segments and escaped slashes."""

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
# a name as DNS has it, with the underscores that people give to containers; the last label leaves room for a port,
# since Klein hands name and port together to the IDNA codec, which takes 63 bytes a label
_HOST = re.compile(
    rb"(?:(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,57}\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::(?:[0-9]{1,5})?)?"
)


class Target(NamedTuple):
    """Where a request goes: ``uri`` is ``path`` and ``query`` in origin-form, or ``*``.

    ``authority`` is that of an absolute-form target; there it stands for Host (RFC 9112 §3.2.2).
    """

    uri: bytes
    path: bytes
    query: bytes
    authority: bytes | None


class RequestLine(NamedTuple):
    """A request line that may be served."""

    method: bytes
    target: Target
    version: bytes


RequestLines = Memo[bytes, RequestLine]
"""The parts of request lines; looking one up raises as `parse_request_line` does."""


def request_lines(limits: Limits, raw_path: RawPath) -> RequestLines:
    """Those of one site."""
    return Memo(lambda line: parse_request_line(line, limits, raw_path))


_IS_HOST = Memo[bytes, bool](lambda host: _HOST.fullmatch(host) is not None)


def check_host(host: bytes) -> None:
    """:raises Refused: 400, when this is no host with an optional port (RFC 9110 §7.2); empty is none."""
    if not _IS_HOST[host]:
        raise Refused(400, "The Host field is not a host name with an optional port.")


def parse_request_line(line: bytes, limits: Limits, raw_path: RawPath) -> RequestLine:
    """The parts of a request line, without its CRLF.

    :raises Refused: 400, 405, 414, 501 or 505.
    """
    if len(line) > limits.target_size + 32:
        raise Refused(414, f"The request target is longer than {limits.target_size} bytes.")
    match = _LINE.fullmatch(line)
    if match is None:
        raise Refused(400, "The request line is not `METHOD target HTTP/1.1`.")
    method, target, major, minor = match.groups()
    if (major, minor) not in ((b"1", b"1"), (b"1", b"0")):
        raise Refused(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    if method not in METHODS:
        if method in (b"CONNECT", b"TRACE"):
            raise Refused(405, "CONNECT and TRACE are not served here.")
        raise Refused(501, "This method is not known here.")
    if len(target) > limits.target_size:
        raise Refused(414, f"The request target is longer than {limits.target_size} bytes.")
    return RequestLine(method, parse_target(target, method, limits, raw_path), b"HTTP/1." + minor)


def parse_target(target: bytes, method: bytes, limits: Limits, raw_path: RawPath) -> Target:
    """The parts of a request target of visible ASCII.

    A path is origin-form and UTF-8 behind its escapes, without backslashes; unless ``raw_path`` says otherwise it has
    no ``.`` or ``..`` segments and no escaped slashes, in any spelling. A query may hold anything that is well
    escaped, except ``%00``.

    :raises Refused: 400.
    """
    if target == b"*":
        if method != b"OPTIONS":
            raise Refused(400, "The target `*` belongs to OPTIONS only.")
        return Target(target, target, b"", None)
    authority = None
    if target[:1] != b"/":
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise Refused(400, "The request target must start with a slash.")
        authority, target = match.groups()
        check_host(authority)
        if target[:1] != b"/":
            target = b"/" + target
    if b"#" in target:
        raise Refused(400, "A request target has no fragment.")
    path, _, query = target.partition(b"?")
    if b"%" in target and (_BAD_ESCAPE.search(target) or b"%00" in target):
        raise Refused(400, "The request target holds a broken escape or an escaped NUL.")
    if query.count(b"&") + query.count(b";") >= limits.query_parts:
        raise Refused(400, f"The query has more than {limits.query_parts} parts.")
    _check_path(path, raw_path)
    return Target(target, path, query, authority)


def _check_path(path: bytes, raw_path: RawPath) -> None:
    if b"\\" in path:
        raise Refused(400, "The path holds a backslash.")
    plain = path
    if b"%" in path:
        plain = unquote_to_bytes(path)
        try:
            plain.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(400, "The path is not UTF-8.") from None
    escaped = plain.count(b"/") != path.count(b"/") or b"\\" in plain
    dots = b"/." in plain and any(segment in (b".", b"..") for segment in plain.split(b"/"))
    if (escaped or dots) and not raw_path(path):
        raise Refused(400, "The path holds a dot segment or an escaped slash.")
