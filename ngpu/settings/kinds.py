"""The kinds of single values that blocks are made of."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo

from ngpu.settings import units
from ngpu.settings.block import FrozenMap, Surroundings, refusal

MOST = 10**9
"""No count or limit is higher."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?", re.ASCII)


def matching(pattern: str, why: str) -> AfterValidator:
    """Holds for texts that match ``pattern`` from end to end; others are refused with ``why``."""
    wanted = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not wanted.fullmatch(text):
            raise refusal(why)
        return text

    return AfterValidator(check)


def _measured(read: Callable[[Any], float]) -> PlainValidator:
    def check(value: Any) -> float:
        try:
            return read(value)
        except units.UnitError as error:
            raise refusal(str(error), error.word, error.names) from None

    return PlainValidator(check)


def _positive(value: float) -> float:
    if value <= 0:
        raise refusal("must be more than 0")
    return value


def _name(text: str) -> str:
    if not text.strip():
        raise refusal("must not be empty")
    return _line(text)


def _line(text: str) -> str:
    if _CONTROL.search(text):
        raise refusal("must be a single line without control characters")
    return text


def _path(text: str, info: ValidationInfo) -> Path:
    if not text or _CONTROL.search(text):
        raise refusal("must be a path")
    return cast(Surroundings, info.context).folder / text


def _network(value: Any) -> Network:
    if not isinstance(value, str):
        raise refusal('must be a network such as "10.0.0.0/8", in quotes', quotable=isinstance(value, int | float))
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        pass
    try:
        meant = str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise refusal("must be a network such as 10.0.0.0/8, or an address") from None
    raise refusal(f"has bits beyond its prefix: the network is {meant}")


def _host(text: str) -> str:
    if _HOST.fullmatch(text):
        return text
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise refusal("must be a host name or an IP address, without scheme, port or path") from None
    return text


def _path_and_query(text: str) -> str:
    if re.search(r"[\x00-\x20\x7f#\\]", text) or not text.isascii():
        raise refusal("must be a path as it stands in a URL, without spaces or '#'")
    path = text.partition("?")[0]
    if "://" in path or path.startswith("//") or re.search(r"(?i)(^|/)(\.|%2e){1,2}(/|%2f|$)", path):
        raise refusal("must be a path on the worker, such as sdapi/v1/img2img, not a URL, and without '..'")
    return text


def _port_number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value, re.ASCII) else value


def _port_map(value: Any) -> Any:
    """Kinder words for the ways in which docker's ``-p`` is written; JSON's keys, which are always text, are fine."""
    if not isinstance(value, dict):
        raise refusal("must map declared ports to container ports: {8080: 7860}")
    if not value:
        raise refusal("must have at least one port: {8080: 7860}")
    seen: set[Any] = set()
    for number in map(_port_number, value):
        if number in seen:
            raise refusal(f"has port {number} twice")
        seen.add(number)
    return value


Text = Annotated[str, Field(strict=True)]
Line = Annotated[Text, AfterValidator(_line)]
Name = Annotated[Text, AfterValidator(_name)]
Host = Annotated[Text, AfterValidator(_host)]
FilePath = Annotated[Path, BeforeValidator(_path), BeforeValidator(lambda value: _text_only(value))]
Truth = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0, le=MOST)]
CountFrom1 = Annotated[int, Field(strict=True, ge=1, le=MOST)]
Duration = Annotated[float, _measured(units.duration)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Size = Annotated[int, _measured(units.size)]
PositiveSize = Annotated[Size, AfterValidator(_positive)]
NetworkRange = Annotated[Network, PlainValidator(_network)]
PathAndQuery = Annotated[Text, AfterValidator(_path_and_query)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
PortKey = Annotated[Port, BeforeValidator(_port_number)]
PortMap = Annotated[FrozenMap[PortKey, Port], BeforeValidator(_port_map)]
Labels = FrozenMap[Text, Text]
Options = FrozenMap[Text, Any]


def _text_only(value: Any) -> Any:
    if isinstance(value, str):
        return value
    raise refusal("must be a path", quotable=isinstance(value, int | float))
