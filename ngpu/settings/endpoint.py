"""Twisted's endpoint descriptions, checked without listening."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator
from twisted.internet.endpoints import serverFromString

from ngpu.certificates import CertificateError, load, tls_listener
from ngpu.settings.block import refusal
from ngpu.settings.kinds import Name

KINDS: Final = ("tcp", "tcp6", "ssl", "unix", "systemd", "haproxy")
"""Kinds that messages know of; others may come with Twisted or its plugins."""

_TCP_PORT = re.compile(r"(?:tcp6?|ssl):(?:.*:)?(?:port=)?([0-9]+)(?::|$)")
_EXAMPLE = "tcp:8080:interface=127.0.0.1"


def _endpoint(text: str) -> str:
    kind, colon, _ = text.partition(":")
    if not colon or kind.isdigit():
        raise refusal(f"must be a Twisted endpoint description, such as {_EXAMPLE}", kind, KINDS)
    port = _TCP_PORT.match(text)
    if port and (len(port[1]) > 5 or int(port[1]) > 65535):
        raise refusal("has no port between 0 and 65535")
    try:
        tls = tls_listener(text)
        if tls is not None:
            load(tls.files)
    except (CertificateError, ValueError) as error:
        raise refusal(str(error)) from None
    try:
        serverFromString(None, text if tls is None else tls.plain)
    except (KeyError, IndexError):
        # systemd hands its sockets to the service only: elsewhere, as in a check, they are not there
        if kind != "systemd":
            raise refusal(f"is no Twisted endpoint description, such as {_EXAMPLE}", kind, KINDS) from None
    except Exception:  # whatever the parser of a kind, which may be a plugin, makes of arguments it does not know
        known = kind in KINDS
        raise refusal(
            f"{kind}: does not take these arguments; an endpoint description looks like {_EXAMPLE}"
            if known
            else f"is no Twisted endpoint description, such as {_EXAMPLE}",
            "" if known else kind,
            () if known else KINDS,
        ) from None
    return text


def outdated(text: str, now: float) -> str:
    """Why clients will not take the certificate of a listener, "" where they will.

    It is no reason to stop: a gateway that starts anew with a certificate that has expired still serves those who do
    not look, and the renewed one as soon as it is there.

    :param now: seconds since 1970.
    """
    tls = tls_listener(text)
    try:
        if tls is not None:
            load(tls.files).check(now)
    except CertificateError as error:
        return str(error)
    return ""


Endpoint = Annotated[Name, AfterValidator(_endpoint)]
"""The text of an endpoint description; files and sockets that it names are taken from the working directory."""
