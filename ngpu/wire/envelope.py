"""A submission's body (wire contract §3): ``{"btc_address": "...", "data": <string or object>}``, read strictly.

``data`` goes to the worker as it came: a string byte for byte, an object in the very characters that stood in the
request, so that no number or escape is spelled anew on the way.
"""

from __future__ import annotations

import json
import math
import re
from codecs import BOM_UTF8
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NamedTuple, NoReturn

from ngpu.addresses import address_key
from ngpu.errors import BadRequest
from ngpu.model import DataForm

DEEPEST = 200
"""How deep arrays and objects may be nested."""

MOST_VALUES = 1_000_000
"""How many values a body may have in all: each costs far more time and memory to read than the bytes it stands in."""

LONGEST_NUMBER = 1000
"""How many characters a number may have."""

NO_ADDRESS = frozenset({"", "0000000000000000000000000GFg7xJaNVN2"})
"""What stands where no address is meant: no check is asked for."""

NO_DATA = (
    'the body has no "data": send {"btc_address": "...", "data": <string or object>}, '
    "or any body together with a BtcAddress header"
)
TOO_MANY_VALUES = (
    f"the body has more than {MOST_VALUES} JSON values: send them as a raw body with a BtcAddress header, or by URL"
)

_SPACE = re.compile(r"[ \t\n\r]*")
_IS_SPACE = frozenset(" \t\n\r")
_NAMED = re.compile(r'[ \t\n\r]*+"([^"\\\x00-\x1f]*+)"[ \t\n\r]*+:[ \t\n\r]*+')  # a name without escapes, and its colon
# A string without an end is taken up to the text's, or each quote in it would be looked at as another beginning.
_MARKS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]|,', re.DOTALL)
_SHOWN = 40


class Envelope(NamedTuple):
    """What a submission says: the address to check ("" for none) and the bytes for the worker."""

    btc_address: str
    form: DataForm
    data: bytes


def parse_envelope(body: bytes) -> Envelope:
    """Read a submission's JSON.

    :raises BadRequest: it is not UTF-8, not JSON, nested too deep, of too many values, holds NaN, a duplicate key or
        an endless number, or is no envelope.
    """
    fields = parse_object(body)
    data = fields.get("data")
    if data is None:
        raise BadRequest(NO_DATA)
    address = btc_address(fields)
    if isinstance(data.value, str):
        return Envelope(address, DataForm.STRING, _encoded(data.value, '"data"'))
    if isinstance(data.value, dict):
        return Envelope(address, DataForm.OBJECT, _encoded(data.source, '"data"'))
    raise BadRequest('"data" must be a string or an object')


def parse_flat(body: bytes) -> Envelope:
    """Read a submission that has no envelope: ``btc_address`` stands among the members of the request itself.

    :raises BadRequest: as `parse_envelope`; but for being no envelope.
    """
    return Envelope(btc_address(parse_object(body)), DataForm.OBJECT, body)


def btc_address(fields: dict[str, Field]) -> str:
    """The address that a submission names, "" when it asks for no check.

    :raises BadRequest: ``btc_address`` is no string.
    """
    field = fields.get("btc_address")
    if field is None:
        return ""
    if not isinstance(field.value, str):
        raise BadRequest('"btc_address" must be a string; leave it out to ask for no check')
    _encoded(field.value, '"btc_address"')
    return normal_address(field.value)


def normal_address(text: str) -> str:
    """An address without surrounding space, one in capitals (as in QR codes, BIP-173) in small letters; "" for the ways
    of saying that there is none.
    """
    text = text.strip()
    if text in NO_ADDRESS:
        return ""
    return address_key(text) if text.isupper() else text


class Field(NamedTuple):
    """A member of the outermost object: its value and, unless that is a string, the characters it was written in."""

    value: Any
    source: str


def no_text(place: int) -> BadRequest:
    """The error of a body that is no text from this byte on."""
    return BadRequest(f"the body is not UTF-8 (byte {place}): send JSON in UTF-8, and not compressed")


def no_object(beginning: bytes) -> BadRequest:
    """The error of a body that begins, behind space, with something else than an object."""
    if beginning.startswith(BOM_UTF8):
        return BadRequest("the body begins with a byte order mark: send JSON in UTF-8 without one")
    return BadRequest("the body must be a JSON object" if beginning else "the body is empty; send a JSON object")


def parse_object(body: bytes) -> dict[str, Field]:
    """Read a JSON object strictly, with the source of each of its members.

    :raises BadRequest: see `parse_envelope`.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise no_text(error.start) from None
    _check_shape(text)
    try:
        return _members(text)
    except json.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except StopIteration as error:
        place = json.JSONDecodeError("Expecting value", text, error.value)
        raise BadRequest(f"the body is not JSON: no value at line {place.lineno}, column {place.colno}") from None


def _members(text: str) -> dict[str, Field]:
    """The outermost object by hand, since the standard parser does not say where a value began and ended."""
    fields: dict[str, Field] = {}
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise no_object(text[at : at + 1].encode())
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        if fields:
            at = _expect(text, at, ",")
        named = _NAMED.match(text, at)
        if named is not None:
            name, start = named[1], named.end()
        else:
            name, at = scanstring(text, _expect(text, _skip(text, at), '"'), True)
            start = _skip(text, _expect(text, _skip(text, at), ":"))
        if name in fields:
            refuse_duplicate(name)
        value, end = _SCAN(text, start)
        fields[name] = Field(value, "" if isinstance(value, str) else text[start:end])
        at = _skip(text, end)
    if (end := _skip(text, at + 1)) != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return fields


def _skip(text: str, at: int) -> int:
    if text[at : at + 1] not in _IS_SPACE:
        return at
    matched = _SPACE.match(text, at)
    return at if matched is None else matched.end()


def _expect(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise json.JSONDecodeError(f"Expecting '{mark}'", text, at)
    return at + 1


def _check_shape(text: str) -> None:
    """Count brackets and commas outside strings before the parser recurses into them and makes a value of each."""
    brackets = text.count("[") + text.count("{")
    if brackets <= DEEPEST and brackets + text.count(",") <= MOST_VALUES:
        return
    depth = values = 0
    for found in _MARKS.finditer(text):
        mark = found[0]
        if mark in "[{":
            depth += 1
            values += 1
            if depth > DEEPEST:
                raise BadRequest(f"the body is nested more than {DEEPEST} deep")
        elif mark in "]}":
            depth -= 1
        elif mark == ",":
            values += 1
        if values > MOST_VALUES:
            raise BadRequest(TOO_MANY_VALUES)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        refuse_duplicate(next(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]
    return fields


def integer_of(digits: str) -> int:
    """A JSON number without fraction and exponent.

    :raises BadRequest: it is endless.
    """
    _check_length(digits)
    return int(digits)


def float_of(digits: str) -> float:
    """Any other JSON number.

    :raises BadRequest: it is endless, or no float is as large.
    """
    _check_length(digits)
    value = float(digits)
    if math.isinf(value):
        raise BadRequest(f"the number {digits[:_SHOWN]} is out of range")
    return value


def _check_length(digits: str) -> None:
    if len(digits) > LONGEST_NUMBER:
        raise BadRequest(f"a number of {len(digits)} characters is too long; {LONGEST_NUMBER} are the most")


def refuse_constant(name: str) -> NoReturn:
    """:raises BadRequest: NaN and Infinity, which are Python's."""
    raise BadRequest(f"{name} is not JSON")


def refuse_duplicate(name: str) -> NoReturn:
    """:raises BadRequest: a key that an object has already."""
    shown = name if len(name) <= _SHOWN else name[:_SHOWN] + "…"
    raise BadRequest(f"the key {json.dumps(shown)} stands twice in one object")


def _encoded(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise lone_surrogate(what) from None


def lone_surrogate(what: str) -> BadRequest:
    """What is said of a string that cannot be sent on."""
    return BadRequest(f"{what} holds a lone surrogate, which no text can")


_SCAN = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=integer_of, parse_float=float_of, parse_constant=refuse_constant
).scan_once  # type: ignore[attr-defined]
