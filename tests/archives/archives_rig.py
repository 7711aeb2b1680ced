"""What the tests of archives share."""

from __future__ import annotations

import os
from typing import Any

from ngpu.archives.download import Patience
from ngpu.archives.opening import Archives

DATA = os.urandom(3_000_000)
SOON = Patience(first_wait=0.01, silence=0.5)
"""Tries follow each other quickly, and silence is short."""


async def whole(archives: Archives, source: str, **more: Any) -> bytes:
    """All of an archive."""
    opened = await archives.open(source, **more)
    data = b"".join([piece async for piece in opened.pieces()])
    assert opened.size in (None, len(data))
    return data
