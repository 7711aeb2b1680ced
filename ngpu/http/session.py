"""Sessions of the dashboard: what a browser gets for the admin token, and shows in place of it.

A session is a random name, and a document in the store, so that each process and each gateway on the store knows it.
The document's key is an HMAC of the name under the admin token: whoever reads the store learns no name, whoever writes
it can make no session without the token, and a token that is changed leaves no session behind.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ngpu.cloud.attempts import Attempts, Rate
from ngpu.errors import Unauthorized
from ngpu.interfaces import IDocuments

TTL = 12 * 3600.0
"""Seconds after which a session ends, whatever is done in it."""

MOST = 32
"""Sessions that there are at once; the oldest ends where another one begins."""

BY_ADDRESS, BY_ALL = Rate(10, 15.0), Rate(30, 15.0)
"""Wrong tokens that an address may send, and that all of those may from which nobody has logged in yet."""

SKEW = 60.0
"""Seconds by which the clocks of gateways on one store may differ."""

COLLECTION = "admin_sessions"
_BYTES = 32
_EVERYBODY = "admin"


@dataclass(frozen=True, slots=True)
class Session:
    """One that is open; ``ends`` in seconds since the epoch. ``name`` is a credential."""

    name: str
    ends: float


class Sessions:
    """Those of one admin token.

    :param clock: seconds since the epoch.
    """

    def __init__(self, token: str, documents: IDocuments, clock: Callable[[], float]) -> None:
        self._token = token.encode()
        self._documents = documents
        self._clock = clock
        self._attempts = Attempts(BY_ADDRESS, BY_ALL)

    async def begin(self, shown: str, address: str) -> Session:
        """Log in.

        :param shown: the admin token, as it was sent.
        :param address: where the caller is.
        :raises Unauthorized: it is not the token.
        :raises TooManyTries: there were too many wrong ones.
        :raises StoreUnavailable: nothing can be kept; nobody is logged in.
        """
        now = self._clock()
        paid = self._attempts.begin(address, _EVERYBODY, now)
        if not hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), self._token):
            raise Unauthorized("this is not the admin token: it stands in the file that admin.token_file names")
        self._attempts.give_back(paid)
        self._attempts.know(address, _EVERYBODY)
        session = Session(secrets.token_urlsafe(_BYTES), now + TTL)
        await self._documents.put(COLLECTION, self._key(session.name), {"begun": now, "ends": session.ends})
        await self._tidy(now)
        return session

    async def find(self, name: str) -> Session | None:
        """The session of that name; ``None`` where there is none, or none any more.

        :raises StoreUnavailable: nobody can tell.
        """
        kept = (await self._documents.documents(COLLECTION)).get(self._key(name))
        return None if kept is None or self._over(kept, self._clock()) else Session(name, float(kept["ends"]))

    async def end(self, session: Session) -> None:
        """Log out; once more does nothing.

        :raises StoreUnavailable: it may still be open.
        """
        await self._documents.delete(COLLECTION, self._key(session.name))

    async def _tidy(self, now: float) -> None:
        """Forget those that are over, and the oldest where there are too many."""
        kept = await self._documents.documents(COLLECTION)
        over = [key for key, document in kept.items() if self._over(document, now)]
        rest = sorted(kept.keys() - set(over), key=lambda key: float(kept[key]["begun"]))
        for key in [*over, *rest[: max(0, len(rest) - MOST)]]:
            await self._documents.delete(COLLECTION, key)

    def _over(self, document: Mapping[str, Any], now: float) -> bool:
        # a clock that was set back does not lengthen it
        return not float(document["begun"]) - SKEW <= now < float(document["ends"])

    def _key(self, name: str) -> str:
        return hmac.new(self._token, name.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
