"""``paramUrl``: the path (and query) on the worker that a caller names (wire contract §3). A path, never a URL."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from ngpu.errors import BadRequest

LONGEST = 8192
"""Characters that a path may have."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F))
_UNWRAPPINGS = 4
_KEPT = 128
"""Characters of a path at most that is remembered: a customer's calls lead to few of them."""


def worker_target(text: str) -> str:
    """The request target for the worker, in origin form (RFC 9112 §3.2.1).

    Characters that cannot stand in a target are percent-encoded; all others go out as they came.

    :raises BadRequest: it has a scheme, a host, dot segments or their encoded forms, a fragment or control characters.
    """
    if len(text) > LONGEST:
        raise BadRequest(f"paramUrl is longer than {LONGEST} characters")
    return _short(text) if len(text) <= _KEPT else _target(text)


def _target(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise BadRequest("paramUrl has a % that begins no escape; write %25 for the character itself")
    path, mark, query = text.partition("?")
    for spelling in _decodings(path):
        _check_path(spelling)
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text) or "#" in text:
        raise BadRequest("paramUrl holds a control character or a fragment")
    return quote("/" + path.removeprefix("/") + mark + query, safe=_VISIBLE)


_short = lru_cache(maxsize=1024)(_target)


def _decodings(path: str) -> list[str]:
    """The path as it stands, and as it reads after each round of percent-decoding that a worker may do."""
    spellings = [path]
    for _ in range(_UNWRAPPINGS):
        decoded = unquote_to_bytes(spellings[-1]).decode("utf-8", "replace")
        if decoded == spellings[-1]:
            return spellings
        spellings.append(decoded)
    raise BadRequest("paramUrl is percent-encoded too many times over")


def _check_path(path: str) -> None:
    if _SCHEME.match(path) or path.startswith("//") or "://" in path:
        raise BadRequest("paramUrl must be a path on the worker, not a URL: leave out the scheme and the host")
    if "\\" in path:
        raise BadRequest("paramUrl must not hold a backslash")
    if any(segment.partition(";")[0] in (".", "..") for segment in path.split("/")):
        raise BadRequest("paramUrl must not hold . or .. segments")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in path):
        raise BadRequest("paramUrl must not hold control characters")
