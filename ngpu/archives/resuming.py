"""How a download that was cut goes on: with a range, and only of the same bytes (RFC 9110 §13.1.5, §14). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urljoin

from ngpu.errors import FetchFailed, FetchRefused

MOST_REDIRECTS = 5
LONGEST_URL = 8192

_MINUTE = timedelta(minutes=1)
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?([/?][\x21-\x7e]*)?", re.IGNORECASE)

Field = Callable[[str], str | None]
"""A reply's header field by its name."""


class Version(NamedTuple):
    """What an archive's bytes are known by: their number, and what ``If-Range`` may say of them."""

    size: int | None
    validator: str | None


def is_url(source: str) -> bool:
    """Whether an archive's place is a URL, and no path."""
    return "://" in source


def checked(url: str) -> str:
    """A URL that may be fetched.

    :raises FetchRefused: it may not.
    """
    found = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
    if found is None or int((found[2] or ":80")[1:]) > 65535:
        raise FetchRefused(
            f"{shown(url)} is no http(s) URL without credentials: look at the workspace's `image.archive`"
        )
    return url.partition("#")[0]


def shown(url: str) -> str:
    """A URL as it may be shown: what opens things stands in queries and before hosts."""
    bare = url.partition("#")[0].partition("?")[0]
    scheme, colon, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    return "".join(
        letter for letter in f"{scheme}{colon}{host.rpartition('@')[2]}{slash}{path}"[:200] if letter.isprintable()
    )


def redirected(url: str, location: str | None, hops: int) -> str:
    """Where a redirect leads: to http(s), and never from https back to http.

    :raises FetchRefused: elsewhere, or round and round.
    """
    if not location:
        raise FetchRefused(f"{shown(url)} redirects without saying where to")
    if hops >= MOST_REDIRECTS:
        raise FetchRefused(f"{shown(url)} redirects more than {MOST_REDIRECTS} times")
    try:
        target = checked(urljoin(url, location))
    except ValueError:
        raise FetchRefused(f"{shown(url)} redirects to something that is no URL") from None
    if url.lower().startswith("https:") and not target.lower().startswith("https:"):
        raise FetchRefused(f"{shown(url)} redirects from https to http, where anybody could change the image")
    return target


def version(field: Field) -> Version:
    """What a whole reply says of its bytes.

    A weak ETag does not say that bytes are the same, nor does a date that is not a minute older than the reply.
    """
    length, tag, modified = field("Content-Length"), field("ETag"), field("Last-Modified")
    size = int(length) if length and length.isascii() and length.isdigit() and len(length) < 19 else None
    if tag and not tag.startswith("W/"):
        return Version(size, tag)
    try:
        if modified and parsedate_to_datetime(field("Date") or "") >= parsedate_to_datetime(modified) + _MINUTE:
            return Version(size, modified)
    except (ValueError, TypeError, OverflowError):
        pass
    return Version(size, None)


def check_continued(status: int, field: Field, at: int, known: Version, place: str) -> None:
    """Whether a reply to a range goes on at ``at``, with the same bytes: a server may not know ``If-Range``.

    :raises FetchFailed: it does not, and what was read so far is of no use.
    """
    found = _RANGE.fullmatch((field("Content-Range") or "").strip()) if status == 206 else None
    size, validator = known
    same = found is not None and int(found[1]) == at and (size is None or found[3] in (str(size), "*"))
    named = field("ETag" if validator is not None and validator.startswith('"') else "Last-Modified")
    if named is not None and named != validator:
        same = False
    if not same or (size is not None and found is not None and int(found[2]) != size - 1):
        raise FetchFailed(f"{place} was cut off, and cannot be resumed: it has changed, or its server gives no ranges")


def refused(status: int, place: str) -> FetchFailed:
    """What a status other than 200 and 206 means: FetchRefused where another try makes no sense."""
    if status in (404, 410):
        return FetchRefused(f"there is nothing at {place} (HTTP {status}): look at the workspace's `image.archive`")
    if status in (401, 403, 407):
        return FetchRefused(
            f"{place} is not for everybody (HTTP {status}): give a URL that needs no login, such as a signed one"
        )
    if status in (408, 425, 429) or status >= 500:
        return FetchFailed(f"the server of {place} has trouble (HTTP {status})")
    return FetchRefused(f"the server of {place} does not give it out (HTTP {status})")
