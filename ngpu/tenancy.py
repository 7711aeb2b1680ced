"""Who calls: from a credential to the workspace that it opens (wire contract §2)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ngpu.errors import Unauthorized
from ngpu.settings import Workspace
from ngpu.thawed import thawed

_NOBODY = "0" * 64
_KEPT = 128
"""Characters of credentials whose digests are kept at most: those who send long ones have none that opens anything."""


@thawed
@dataclass(frozen=True, slots=True)
class Access:
    """A workspace that a caller may use, and the fingerprint of what opened it ("" where nothing was shown)."""

    workspace: Workspace
    user_key: str = ""


def credential_of(header: str) -> str:
    """The credential in an ``Authorization`` value, with or without ``Bearer`` and with or without ``ngpu_``."""
    shown = header.strip()
    scheme, space, rest = shown.partition(" ")
    return (rest.strip() if space and scheme.lower() == "bearer" else shown).removeprefix("ngpu_")


class Tenancy:
    """Finds workspaces by credential.

    Credentials are looked up by their SHA-256, so the time that takes says nothing about how much of one was right,
    and the last comparison is in constant time.
    """

    def __init__(self, workspaces: Iterable[Workspace]) -> None:
        self._by_hash: dict[str, Workspace] = {}
        for workspace in workspaces:
            self.change(None, workspace)

    def change(self, before: Workspace | None, after: Workspace | None) -> None:
        """A workspace has come, changed or gone: its former credentials open nothing any more."""
        if before is not None:
            for digest in credentials(before):
                if self._by_hash.get(digest) is before:
                    del self._by_hash[digest]
        if after is not None:
            self._by_hash.update(dict.fromkeys(credentials(after), after))

    def shares(self, workspace: Workspace) -> Iterator[str]:
        """The digests of those credentials of a workspace that open another one."""
        for digest in credentials(workspace):
            other = self._by_hash.get(digest)
            if other is not None and other.id != workspace.id:
                yield digest

    def open(self, credential: str) -> Access:
        """The workspace that this opens: one of its keys, or its id where it has none.

        :raises Unauthorized: it opens nothing.
        """
        shown = _digest(credential)
        workspace = self._by_hash.get(shown)
        right = hmac.compare_digest(shown, shown if workspace is not None else _NOBODY)
        if workspace is None or not right:
            raise Unauthorized("this credential opens no workspace; send Authorization: Bearer <workspace id or key>")
        return Access(workspace, "key-" + shown[:16])


def credentials(workspace: Workspace) -> Sequence[str]:
    """The SHA-256, in hex, of everything that opens a workspace: its keys, or its id where it has none."""
    return workspace.keys or (_digest(workspace.id),)


def _digest(credential: str) -> str:
    return _digest_of(credential) if len(credential) <= _KEPT else _digest_of.__wrapped__(credential)


@lru_cache(maxsize=1024)
def _digest_of(credential: str) -> str:
    return hashlib.sha256(credential.encode("utf-8", "surrogateescape")).hexdigest()
