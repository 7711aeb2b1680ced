"""Calls to a running gateway's admin API."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from ngpu.cli.exits import Misused, Refused, Unreachable
from ngpu.client import ClientError
from ngpu.client.calls import root
from ngpu.client.sending import trust, unreachable

PATIENCE = httpx.Timeout(10.0, connect=3.0)
"""Seconds to wait for a reply, and to connect."""


class _Told(dict[str, Any]):
    """An object of a reply, of which a member is asked for that it does not have."""

    def __missing__(self, key: str) -> Any:
        raise Unreachable(f"what answers is no admin listener of this version of ngpu: it tells no {key!r}")


class AdminApi:
    """Calls to one gateway.

    :param url: of its admin listener.
    :param patience: to wait for a reply, where not as long as usual.
    :raises Misused: it can be none.
    """

    def __init__(self, url: str, token: str, patience: httpx.Timeout = PATIENCE) -> None:
        try:
            self.url = root(url)
        except ClientError:
            raise Misused(f"{url!r} is no URL of an admin listener, such as http://127.0.0.1:8081") from None
        # a token does not go through a proxy of the environment, whose SSL_CERT_FILE counts all the same
        options = trust(self.url) or {"verify": ssl.create_default_context()}
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(trust_env=False, timeout=patience, headers=headers, **options)

    def get(self, *path: str, **params: Any) -> dict[str, Any]:
        """What the gateway tells."""
        return self._document(self._call("GET", path, params=params))

    def send(self, method: str, *path: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Have the gateway do something."""
        return self._document(self._call(method, path, json=document))

    def ready(self) -> str:
        """Whether it is ready: "" or why not."""
        try:
            reply = self._http.get(f"{self.url}/readyz")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from None
        return "" if reply.is_success else str(self._refusal(reply))

    def stream(self, *path: str, **params: Any) -> Iterator[bytes]:
        """A reply, as it comes, however long that takes."""
        patience = httpx.Timeout(None, connect=PATIENCE.connect)
        try:
            with self._http.stream("GET", self._address(path), params=params, timeout=patience) as reply:
                if not reply.is_success:
                    reply.read()
                    raise self._refusal(reply)
                yield from reply.iter_bytes()
        except httpx.RemoteProtocolError as error:
            raise Unreachable(f"the gateway at {self.url} broke off: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from None

    def _address(self, path: tuple[str, ...]) -> str:
        if "" in path:
            raise Misused("one of the arguments is empty, which names nothing: is a variable of the shell not set?")
        return "/".join([self.url, "api/v1", *(quote(part, safe="") for part in path)])

    def _call(self, method: str, path: tuple[str, ...], **options: Any) -> httpx.Response:
        try:
            reply = self._http.request(method, self._address(path), **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from None
        if not reply.is_success:
            raise self._refusal(reply)
        return reply

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"{unreachable(self.url, error)}; is it running, and is this its admin listener? "
            "Name another one with -c or --admin"
        )

    def _refusal(self, reply: httpx.Response) -> Refused | Unreachable:
        """What a gateway refuses, with the places of what is wrong where it names them; or that none has answered."""
        try:
            document = json.loads(reply.content)
            lines = [str(document["msg"])]
            lines += [f"  {problem['path']}: {problem['message']}" for problem in document.get("problems", ())]
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            return Unreachable(f"what answers at {self.url} (HTTP {reply.status_code}) is no admin listener of ngpu")
        return Refused("\n".join(lines), reply.status_code < 500)

    def _document(self, reply: httpx.Response) -> dict[str, Any]:
        try:
            document = json.loads(reply.content, object_hook=_Told)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or "result_code" not in document:
            raise Unreachable(f"{self.url} is no admin listener of ngpu: it answered no JSON object of ngpu's")
        return document
