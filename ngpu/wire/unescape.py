"""The text of a JSON string out of the characters between its quotes, a piece at a time."""

from __future__ import annotations

import codecs
import re
from json.decoder import scanstring  # type: ignore[attr-defined]

CHARACTERS = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
"""What may stand between the quotes, as far as it is whole."""

ESCAPE = len(rb"\u0000")
"""Bytes of the longest escape."""


class Unescape:
    r"""Takes well-formed characters of a string in any pieces, and gives the text in UTF-8.

    :param lone: lets lone surrogates through (as ``surrogatepass`` spells them), which no text can hold.
    """

    def __init__(self, lone: bool = False) -> None:
        self._errors = "surrogatepass" if lone else "strict"
        self._rest = b""

    def feed(self, data: bytes, last: bool = False) -> bytes:
        """The text of the next piece, but for an end that only what follows can tell.

        :param last: nothing follows.
        :raises UnicodeEncodeError: it holds a lone surrogate.
        """
        data = self._rest + data if self._rest else data
        if b"\\" not in data:
            _, used = codecs.utf_8_decode(data, "strict", last)
            self._rest = data[used:]
            return data[:used]
        whole = CHARACTERS.match(data) if b"\\" in data[1 - ESCAPE :] else None  # an escape may be cut off
        written, used = codecs.utf_8_decode(data if whole is None else data[: whole.end()], "strict", last)
        text: str = scanstring(written + '"', 0, True)[0]
        if text and not last and "\ud800" <= text[-1] <= "\udbff":  # the first half of a pair, perhaps
            text, used = text[:-1], used - ESCAPE
        self._rest = data[used:]
        return text.encode("utf-8", self._errors)
