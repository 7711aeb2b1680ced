"""A large submission's body (wire contract §3), which is not held: it is read once, and what is for the worker is
told as a span of it.

What `ngpu.wire.envelope` lets pass passes here, and nothing else does.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import partial

from ngpu.errors import BadRequest
from ngpu.model import CHUNK, DataForm
from ngpu.wire.envelope import (
    DEEPEST,
    MOST_VALUES,
    NO_DATA,
    TOO_MANY_VALUES,
    float_of,
    integer_of,
    lone_surrogate,
    no_object,
    normal_address,
    refuse_constant,
    refuse_duplicate,
)
from ngpu.wire.unescape import CHARACTERS, Unescape
from ngpu.wire.window import Read, Window

LONGEST_ADDRESS = 4096
"""Bytes that ``btc_address`` may have here, as it is written."""

_SHORT = 64
"""Keys of more bytes than this are remembered by their digest, behind a byte with which no text begins."""

_NUMBER = re.compile(rb"(-?(?:0|[1-9][0-9]*+))(\.[0-9]++)?([eE][+-]?[0-9]++)?")
_WORD = re.compile(rb"true|false|null")
_CONSTANT = re.compile(rb"NaN|-?Infinity")
# What makes up most of a large document is passed over by one match: numbers and strings that are plain, and members
# that are. All else goes the long way. No comma stands within what _RUN matches, so that its values can be counted.
_BLANK = rb"[ \t\n\r]{0,100}+"
_PLAIN = rb"(?:true|false|null|-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,99})?(?:[eE][+-]?[0-9]{1,2})?)"
_RUN = re.compile(rb"(?:(?:" + _PLAIN + rb'|"[^"\\\x00-\x1f,]{0,1000}+")' + _BLANK + b"," + _BLANK + rb")++")
_KEY = re.compile(rb'"([^"\\\x00-\x1f]{0,1000}+)"' + _BLANK + b":" + _BLANK)
_MEMBER = re.compile(_KEY.pattern + rb"(?:" + _PLAIN + rb'|"[^"\\\x00-\x1f]{0,1000}+")' + _BLANK + rb"(?=[,}])")
_STRING = re.compile(b'"' + CHARACTERS.pattern + b'"')


_digest = partial(hashlib.blake2b, digest_size=16)


@dataclass(frozen=True, slots=True)
class Span:
    """What is for the worker, and where it stands in the body.

    ``size`` is how many bytes it has for the worker; ``length`` how many in the body, which are more where a string is
    written with escapes (``escaped``).
    """

    btc_address: str
    form: DataForm
    offset: int
    length: int
    size: int
    escaped: bool = False


def find_envelope(read: Read, piece: int = CHUNK) -> Span:
    """`ngpu.wire.envelope.parse_envelope` of a body that is read through ``read``, in pieces of so many bytes.

    :raises BadRequest: as there.
    """
    members = _Members(Window(read, piece), True)
    if members.data is None:
        raise BadRequest(NO_DATA)
    form, offset, length, size, escaped = members.data
    return Span(members.address, form, offset, length, size, escaped)


def find_flat(read: Read, piece: int = CHUNK) -> Span:
    """`ngpu.wire.envelope.parse_flat` of such a body."""
    window = Window(read, piece)
    members = _Members(window, False)
    return Span(members.address, DataForm.OBJECT, 0, window.place, window.place)


class _Members:
    """The outermost object, read to the end of the text.

    :param envelope: look at ``data``.
    """

    def __init__(self, window: Window, envelope: bool) -> None:
        self._window = window
        self._envelope = envelope
        self._values = 1
        self.address = ""
        self.data: tuple[DataForm, int, int, int, bool] | None = None
        mark = window.next()
        if mark != b"{":
            raise no_object(window.data[window.at :])
        window.at += 1
        keys: set[bytes] = set()
        while window.next() != b"}" or keys:
            name = self._key(keys)
            mark = window.next()
            if name == b"btc_address":
                self._read_address(mark)
            elif name == b"data" and envelope:
                self._read_data(mark)
            else:
                self._pass_value()
            if window.next() == b"}":
                break
            window.expect(b",")
            self._count()
        window.at += 1
        if window.next():
            window.refuse("Extra data")

    def _read_address(self, mark: bytes) -> None:
        if mark != b'"':
            self._pass_value()
            raise BadRequest('"btc_address" must be a string; leave it out to ask for no check')
        written = bytearray()

        def take(piece: bytes) -> None:
            written.extend(piece)
            if len(written) > LONGEST_ADDRESS:
                raise BadRequest(f'"btc_address" is longer than {LONGEST_ADDRESS} bytes')

        self._window.string(take)
        try:
            self.address = normal_address(Unescape().feed(bytes(written), last=True).decode())
        except UnicodeEncodeError:
            raise lone_surrogate('"btc_address"') from None

    def _read_data(self, mark: bytes) -> None:
        window, offset = self._window, self._window.place
        if mark == b"{":
            self._pass_value()
            length = window.place - offset
            self.data = DataForm.OBJECT, offset, length, length, False
            return
        if mark != b'"':
            self._pass_value()
            raise BadRequest('"data" must be a string or an object')
        text = Unescape()
        size, escaped = 0, False

        def take(piece: bytes) -> None:
            nonlocal size, escaped
            escaped = escaped or b"\\" in piece
            size += len(text.feed(piece))

        try:
            window.string(take)
            size += len(text.feed(b"", last=True))
        except UnicodeEncodeError:
            raise lone_surrogate('"data"') from None
        self.data = DataForm.STRING, offset + 1, window.place - offset - 2, size, escaped

    def _pass_value(self) -> None:
        """Pass over a value with all that is nested in it."""
        window = self._window
        inside: list[set[bytes] | None] = []  # for each open object its keys, for each open list nothing
        while True:
            mark = window.next()
            if mark == b'"':
                found = _STRING.match(window.data, window.at)
                if found is None:
                    window.string()
                else:
                    window.at = found.end()
            elif mark in (b"{", b"["):
                self._open(len(inside))
                if window.next() != (b"}" if mark == b"{" else b"]"):
                    inside.append(set() if mark == b"{" else None)
                    if not self._pass_plain(inside[-1]):
                        continue
                else:
                    window.at += 1
            else:
                self._pass_scalar()
            while inside:
                mark = window.next()
                if mark == (b"]" if inside[-1] is None else b"}"):
                    window.at += 1
                    inside.pop()
                    continue
                if mark != b",":
                    window.refuse("Expecting ','")
                window.at += 1
                self._count()
                window.next()
                if not self._pass_plain(inside[-1]):
                    break
            else:
                return

    def _pass_plain(self, keys: set[bytes] | None) -> bool:
        """Pass over what can be passed over at once, and to the value that follows.

        :returns: whether a member was passed over with its value.
        """
        window = self._window
        if keys is None:
            found = _RUN.match(window.data, window.at)
            if found is not None:
                self._count(found[0].count(b","))
                window.at = found.end()
            return False
        found = _MEMBER.match(window.data, window.at)
        if found is None:
            self._key(keys)
            return False
        self._remember(keys, found[1])
        window.at = found.end()
        return True

    def _pass_scalar(self) -> None:
        window = self._window
        found = _NUMBER.match(window.data, window.at)
        if found is not None:
            whole = found[0].decode()
            (integer_of if found[2] is None and found[3] is None else float_of)(whole)
        else:
            found = _WORD.match(window.data, window.at)
            if found is None:
                found = _CONSTANT.match(window.data, window.at)
                if found is not None:
                    refuse_constant(found[0].decode())
                window.refuse("no value")
        window.at = found.end()

    def _open(self, inside: int) -> None:
        if inside + 2 > DEEPEST:
            raise BadRequest(f"the body is nested more than {DEEPEST} deep")
        self._count()
        self._window.at += 1

    def _count(self, values: int = 1) -> None:
        self._values += values
        if self._values > MOST_VALUES:
            raise BadRequest(TOO_MANY_VALUES)

    def _key(self, keys: set[bytes]) -> bytes:
        """Pass over a key and its colon.

        :returns: it, but for the end of a long one.
        """
        window = self._window
        window.next()
        found = _KEY.match(window.data, window.at)
        if found is not None:
            window.at = found.end()
            self._remember(keys, found[1])
            return found[1]
        text, begin, digest = Unescape(lone=True), bytearray(), _digest()

        def take(piece: bytes, last: bool = False) -> None:
            read = text.feed(piece, last)
            digest.update(read)
            begin.extend(read[: _SHORT + 1 - len(begin)])

        window.string(take)
        take(b"", True)
        self._remember(keys, bytes(begin), digest.digest() if len(begin) > _SHORT else b"")
        window.expect(b":")
        return bytes(begin)

    def _remember(self, keys: set[bytes], key: bytes, digest: bytes = b"") -> None:
        """Keep a key, of which there may be the beginning only where it comes with its digest."""
        known = len(keys)
        keys.add(key if len(key) <= _SHORT else b"\xff" + (digest or _digest(key).digest()))
        if len(keys) == known:
            refuse_duplicate(key.decode("utf-8", "replace"))
