"""What is found when somebody looks whether a host is fit for a gateway, and a port for what can be looked at so."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from zope.interface import Interface


class Level(enum.StrEnum):
    """How bad it is: fine; works, but not as well or as safely as it could; has to be mended."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One thing that was looked at.

    ``about`` names it in a word or two, ``words`` says what was found, ``advice`` what to do about it ("" for nothing).
    """

    level: Level
    about: str
    words: str
    advice: str = ""


class IExaminable(Interface):
    """What an instance of a plugin may provide, so that `ngpu doctor` looks at what it stands on."""

    async def examine() -> Sequence[Finding]:
        """Look, and change nothing; within seconds, also where nothing answers. It is not opened, and may block."""
