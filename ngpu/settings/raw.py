"""How a workspace is reached without an envelope: ``raw`` and ``hosts``."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator

from ngpu.settings.block import Block, refusal, written
from ngpu.settings.kinds import PositiveDuration, Size, Text, Truth, matching

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,55}[A-Za-z0-9_])?"


def _virtual_host(text: str) -> str:
    name = host_key(text)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name
    raise refusal("must be a name, not an address: the gateway itself is reached by its addresses")


def host_key(text: str) -> str:
    """A host in the one spelling in which two of them compare: lower case, without the dot at its end."""
    return text.lower().removesuffix(".")


VirtualHost = Annotated[
    Text,
    matching(
        rf"(?=.{{1,253}}\Z)({_LABEL}\.)*{_LABEL}\.?",
        "must be a host name such as sd.example.com, without scheme, port, path or '*'",
    ),
    AfterValidator(_virtual_host),
]


class Raw(Block):
    """What passes through as it is, below ``/proxy`` and at the workspace's ``hosts``.

    ``key_in_query`` lets ``?key=`` stand for ``Authorization``, ``open`` lets everybody in at its hosts. A call on
    which no byte moves for ``idle_timeout`` seconds is cut; a body has at most ``body_limit`` bytes (0: any number).
    """

    key_in_query: Truth = False
    open: Truth = False
    idle_timeout: PositiveDuration = written("5m")
    body_limit: Size = written("0B")
