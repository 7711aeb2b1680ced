"""What the client's requests say: bodies and ids, as published versions of it send them (wire contract §7). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from ngpu.errors import BadRequest
from ngpu.wire.envelope import parse_object

LONGEST_BODY = 64 * 1024
"""Bytes that a request may have."""

MOST_COPIES, MOST_DURATION = 1000, 10_000
UNITS = ("hr", "week", "month")

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NO_TEXT = re.compile(r"[\ud800-\udfff]")

_TRUTHS = {"none": False, "": False, "false": False, "0": False, "true": True, "1": True}


@dataclass(frozen=True, slots=True)
class LoginAsked:
    """Who logs in, with the md5 of the password in hex."""

    email: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImageAsked:
    """An image to keep: where it comes from and how it is started."""

    image_name: str
    wget_url: str
    start_cmd: str = field(repr=False)
    note: str = ""
    stop_cmd: str = field(default="", repr=False)
    port_mapping: str = ""
    docker_image_id: str = ""
    file_size: int = 0
    file_path: str = ""
    type: int = 1
    action: int = 1
    exception: int = 1


@dataclass(frozen=True, slots=True)
class WorkspaceAsked:
    """A workspace to deploy: which image, on what, how many times."""

    workspace_name: str
    image_id: str
    product_id: str
    num: int = 1
    area: str = "*"
    duration: int = 1
    duration_unit: str = "hr"
    public_net: int = 1
    is_group: bool = False
    workspace_group_id: str = ""


def read_login(body: bytes) -> LoginAsked:
    """:raises BadRequest: it is no login."""
    asked = _Fields(body)
    return LoginAsked(asked.text("email", 254, needed=True), asked.text("password", 256, needed=True))


def read_image(body: bytes) -> ImageAsked:
    """:raises BadRequest: it is no image/create."""
    asked = _Fields(body)
    return ImageAsked(
        image_name=asked.text("image_name", 200, needed=True),
        wget_url=asked.text("wget_url", 8192, needed=True),
        start_cmd=asked.text("start_cmd", 8192, needed=True),
        note=asked.text("note", 4096),
        stop_cmd=asked.text("stop_cmd", 8192),
        port_mapping=asked.text("port_mapping", 4096),
        docker_image_id=asked.text("docker_image_id", 255),
        file_size=asked.number("file_size", 0, 0, 1 << 60),
        file_path=asked.text("file_path", 4096),
        type=asked.number("type", 1, 0, 1000),
        action=asked.number("action", 1, 0, 1000),
        exception=asked.number("exception", 1, 0, 1000),
    )


def read_workspace(body: bytes) -> WorkspaceAsked:
    """:raises BadRequest: it is no workspace/create."""
    asked = _Fields(body)
    unit = asked.text("duration_unit", 20) or "hr"
    if unit not in UNITS:
        raise BadRequest(f"duration_unit must be one of {', '.join(UNITS)}")
    return WorkspaceAsked(
        workspace_name=asked.text("workspace_name", 200, needed=True),
        image_id=asked.id("image_id", needed=True),
        product_id=asked.id("product_id", needed=True),
        num=asked.number("num", 1, 1, MOST_COPIES),
        area=asked.text("area", 100) or "*",
        duration=asked.number("duration", 1, 1, MOST_DURATION),
        duration_unit=unit,
        public_net=asked.number("public_net", 1, 0, 1000),
        is_group=asked.truth("is_group"),
        workspace_group_id=asked.id("workspace_group_id"),
    )


def read_group(body: bytes) -> str:
    """The name of the group that group/create asks for.

    :raises BadRequest: it is none.
    """
    return _Fields(body).text("workspace_group_name", 200, needed=True)


def listed_id(query: str | None, body: bytes) -> str | None:
    """Which workspace a list is about; ``None``: all of them.

    The client sends the id in the query, or form-encoded in the body of its GET, whatever that is labelled as; its demo
    sends the id in the query and, left over from the call before, another call's fields in the body.

    :raises BadRequest: it cannot be read, or stands there twice.
    """
    if query is not None:
        return query
    if body.lstrip()[:1] == b"{":
        return _Fields(body).id("id") or None
    try:
        values = parse_qs(body.decode("utf-8"), strict_parsing=False, max_num_fields=100, errors="strict").get("id", [])
    except ValueError:
        raise BadRequest("the body of this GET cannot be read: send id=<workspace id>, in the query or there") from None
    if len(values) > 1:
        raise BadRequest("id stands in the body more than once")
    return values[0] if values else None


class _Fields:
    """The members of a JSON object; those that are null count as left out."""

    def __init__(self, body: bytes) -> None:
        self._values: Mapping[str, Any] = {name: each.value for name, each in parse_object(body).items()}

    def text(self, name: str, most: int, needed: bool = False) -> str:
        value = self._values.get(name)
        if value is None:
            value = ""
        if not isinstance(value, str):
            raise BadRequest(f"{name} must be a text")
        if _CONTROL.search(value) or _NO_TEXT.search(value):
            raise BadRequest(f"{name} holds characters that are no text")
        if len(value) > most:
            raise BadRequest(f"{name} may have {most} characters")
        if needed and not value.strip():
            raise BadRequest(f"{name} is missing")
        return value.strip()

    def id(self, name: str, needed: bool = False) -> str:
        """An id is a text; the client's users also put the number in that it looks like."""
        value = self._values.get(name)
        if type(value) is int and 0 <= value < 10**18:
            return str(value)
        text = self.text(name, 64, needed)
        if text and not _ID.fullmatch(text):
            raise BadRequest(f"{name} is no id")
        return text

    def number(self, name: str, default: int, least: int, most: int) -> int:
        value = self._values.get(name)
        if value is None or value == "":
            return default
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,19}", value, re.ASCII):
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            raise BadRequest(f"{name} must be a whole number from {least} to {most}")
        return value

    def truth(self, name: str) -> bool:
        value = self._values.get(name)
        word = str(value).lower() if isinstance(value, str | bool | int | None) else "?"
        if word not in _TRUTHS:
            raise BadRequest(f"{name} must be true or false")
        return _TRUTHS[word]
