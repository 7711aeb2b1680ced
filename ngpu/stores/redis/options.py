"""What a Redis store is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RedisOptions:
    """What a Redis store has to know beside its address.

    :ivar trust: the authorities of rediss://, for ``optionsForClientTLS``.
    :ivar prefix: of all its keys.
    :ivar timeout: seconds in which each call is answered or refused.
    :ivar lease: seconds after which a gateway that is not heard of counts as gone.
    """

    trust: Any = None
    sentinel_password: str = ""
    prefix: str = "ngpu"
    timeout: float = 5.0
    lease: float = 10.0


USUAL = RedisOptions()
