"""Files that workers fetch from the gateway: bytes that one worker made and another takes as a URL only.

A URL is signed and expires; nobody can guess one, and nothing is listed. The key stands beside the files, so that URLs
outlive a restart.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool

from ngpu.errors import NotFound, Unavailable

_KEY_BYTES, _NAME_BYTES = 32, 16
_KEY = "key"


class Media:
    """Keeps files for a while and knows their URLs.

    :param folder: made when the first file comes, with mode 0700.
    :param url: under which workers reach the public listener; "" where nothing can be published.
    :param ttl: seconds that a URL works.
    :param reactor: whose threads do the reading and writing.
    """

    def __init__(self, folder: Path, url: str, ttl: float, reactor: IReactorTime) -> None:
        self._folder = folder
        self._url = url.rstrip("/")
        self._ttl = ttl
        self._reactor: Any = reactor
        self._key: bytes | None = None

    async def publish(self, data: bytes, content_type: str) -> str:
        """Keep these bytes, and tell the URL.

        :raises Unavailable: there is no ``media.url``, or the file cannot be written.
        """
        if not self._url:
            raise Unavailable("a worker needs a file from the gateway: its operator has to set media.url", 3600)
        name = secrets.token_hex(_NAME_BYTES)
        now = self._reactor.seconds()
        try:
            key = await self._in_thread(self._keep, name, data, now)
        except OSError as error:
            raise Unavailable(f"the gateway cannot keep a file for a worker: {error.strerror}") from None
        expires = str(int(now + self._ttl) + 1)
        query = {"expires": expires, "type": content_type, "signature": _sign(key, name, expires, content_type)}
        return f"{self._url}/media/{name}?{urlencode(query)}"

    async def open(self, name: str, expires: str, content_type: str, signature: str) -> bytes:
        """The bytes behind a URL.

        :raises NotFound: we never gave it away, or its time is over.
        """
        gone = NotFound("there is no such file any more")
        try:
            key = self._key or await self._in_thread(self._read_key)
        except OSError:
            raise gone from None
        right = _sign(key, name, expires, content_type)
        if not hmac.compare_digest(right.encode(), signature.encode("utf-8", "replace")):
            raise gone
        if int(expires) <= self._reactor.seconds():
            raise gone
        try:
            return bytes(await self._in_thread((self._folder / name).read_bytes))
        except OSError:
            raise gone from None

    def _in_thread(self, call: Any, *args: Any) -> Any:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call, *args)

    def _keep(self, name: str, data: bytes, now: float) -> bytes:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = self._key = self._key or self._make_key()
        for old in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process cleans up, too
                if old.name != _KEY and old.stat().st_mtime < now - self._ttl - 1:
                    old.unlink()
        _write(self._folder / name, data)
        return key

    def _make_key(self) -> bytes:
        if not (self._folder / _KEY).exists():
            whole = self._folder / f"{_KEY}-{secrets.token_hex(_NAME_BYTES)}"
            _write(whole, secrets.token_bytes(_KEY_BYTES))
            with suppress(FileExistsError):  # of several processes one makes it, and none reads a part of it
                os.link(whole, self._folder / _KEY)
            whole.unlink(missing_ok=True)
        return self._read_key()

    def _read_key(self) -> bytes:
        self._key = (self._folder / _KEY).read_bytes()
        return self._key


def _write(path: Path, data: bytes) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except OSError:
        path.unlink(missing_ok=True)  # a part of it would keep a full disk full
        raise


def _sign(key: bytes, name: str, expires: str, content_type: str) -> str:
    message = "\n".join((name, expires, content_type)).encode("utf-8", "replace")
    return hmac.new(key, message, hashlib.sha256).hexdigest()
