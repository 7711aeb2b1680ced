"""What a connection can be at."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """What a connection is at."""

    HEAD = "between requests, or reading a head"
    REQUEST = "a request is being served"
    LINGER = "the last reply is written; what still comes is dropped"
    CLOSED = "closing or closed"
