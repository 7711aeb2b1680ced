"""The cursor of a listing: the place of the last task shown, as text that needs no escaping in a URL."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from typing import NamedTuple

from ngpu.errors import BadRequest

_FORM = struct.Struct(">dQ")


class Place(NamedTuple):
    """Where a task stands in the order of submission."""

    submitted_at: float
    number: int


def encode(submitted_at: float, number: int) -> str:
    """The cursor after that task."""
    return base64.urlsafe_b64encode(_FORM.pack(submitted_at, number)).rstrip(b"=").decode()


def decode(cursor: str) -> Place:
    """The place that a cursor names.

    :raises BadRequest: it is none.
    """
    try:
        place = Place(*_FORM.unpack(base64.urlsafe_b64decode(cursor.encode("ascii") + b"==")))
    except (UnicodeEncodeError, binascii.Error, struct.error):
        place = Place(math.nan, 0)
    # base64 has several spellings for the same bytes: only ours counts
    if math.isnan(place.submitted_at) or place.number >= 1 << 63 or encode(*place) != cursor:
        raise BadRequest("cursor: not one that this gateway gave; begin again without it")
    return place
