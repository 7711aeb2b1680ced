"""Who uses the published command-line client: logging in, and what a token opens."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.defer import Deferred, DeferredSemaphore

from ngpu.cloud.attempts import Attempts, Bucket
from ngpu.cloud.tokens import account_digest, make_token, open_token
from ngpu.errors import TooManyTries, Unauthorized, Unavailable
from ngpu.interfaces import IDocuments
from ngpu.settings import Account, Cloud, ScryptHash, email_key, scrypt_hash
from ngpu.sharing import ALONE, Exclusively
from ngpu.waiting import shielded

AT_ONCE, WAITING = 2, 50
"""Passwords that are checked at once, and logins that may wait for that; as many may wait to see how others end."""

SECRETS, TOKEN_SECRET = "cloud_secrets", "tokens"  # where it is kept
_SECRET_BYTES = 32

Check = Callable[[str, ScryptHash], Awaitable[bool]]
"""`ngpu.cloud.passwords.matches` in a thread."""


class Accounts:
    """The accounts of the configuration.

    :param clock: seconds since the epoch.
    :param check: tells whether what was sent is what a hash was made of.
    :param exclusively: see `ngpu.storing.IStore`; two gateways that start for the first time find one secret.
    """

    def __init__(
        self,
        settings: Cloud,
        documents: IDocuments,
        clock: Callable[[], float],
        check: Check,
        exclusively: Exclusively = ALONE.exclusively,
    ) -> None:
        self._exclusively = exclusively
        self._ttl = settings.token_ttl
        self._documents = documents
        self._clock = clock
        self._check = check
        self._by_key = {account.key: account for account in settings.accounts}
        self._by_digest = {account_digest(account): account for account in settings.accounts}
        self._hashes: Sequence[ScryptHash] = [scrypt_hash(account.password) for account in settings.accounts]
        self._attempts = Attempts()
        self._turns = DeferredSemaphore(AT_ONCE)
        self._undecided: Counter[Bucket] = Counter()
        self._waiting: list[Deferred[None]] = []
        self._secret = b""

    async def open(self) -> None:
        """Find the store's half of the tokens' key; the first start makes it.

        To be called again now and then where there are other gateways: a store that has forgotten it would get another
        one from the next that starts, and what one gives a token for would be nobody for the others.

        :raises StoreUnavailable: the store cannot read or write.
        """
        self._secret = bytes.fromhex(await self._kept_secret() or await self._exclusively(SECRETS, self._find_secret))

    async def _find_secret(self) -> str:
        found = await self._kept_secret()
        if not found:
            found = self._secret.hex() or secrets.token_hex(_SECRET_BYTES)
            await self._documents.put(SECRETS, TOKEN_SECRET, {"secret": found})
        return found

    async def _kept_secret(self) -> str:
        kept = (await self._documents.documents(SECRETS)).get(TOKEN_SECRET)
        return "" if kept is None else str(kept["secret"])

    async def login(self, email: str, sent: str, address: str) -> str:
        """A token, for an email address and what the client made of the password.

        An email address that nobody has takes as long as one with a wrong password, and gets the same answer.

        :param address: where the caller is.
        :raises Unauthorized: one of them is wrong.
        :raises TooManyTries: there were too many wrong ones.
        :raises Unavailable: too many wait for their turn.
        """
        key = email_key(email)
        paid = await self._pay(address, key)
        account = self._by_key.get(key)
        if len(self._turns.waiting) >= WAITING:
            self._attempts.give_back(paid)
            raise Unavailable("too many log in at once; try again in a moment", 2)
        self._undecided.update(paid)
        # a client that goes away does not make room for another check: the thread is at work all the same
        right = await shielded(Deferred.fromCoroutine(self._decide(key, account, sent, address, paid)))
        if account is None or not right:
            raise Unauthorized("no account has this email address and this password")
        return make_token(self._secret, account, self._clock() + self._ttl)

    async def _pay(self, address: str, key: str) -> tuple[Bucket, ...]:
        """Pay for a try. Where others have paid all there was and are not looked at yet, wait: they may be right.

        :raises TooManyTries: see `login`.
        """
        while True:
            try:
                return self._attempts.begin(address, key, self._clock())
            except TooManyTries:
                undecided = any(self._undecided[each] for each in self._attempts.buckets(address, key))
                if not undecided or len(self._waiting) >= WAITING:
                    raise
            waiting: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waiting)
            await waiting

    async def _decide(
        self, key: str, account: Account | None, sent: str, address: str, paid: tuple[Bucket, ...]
    ) -> bool:
        """Whether it is the account's password, and what that means for those who try next."""
        try:
            right = await self._matches(sent, self._hash_for(key, account)) and account is not None
            if right:
                self._attempts.give_back(paid)
                self._attempts.know(address, key)
            return right
        finally:
            self._undecided -= Counter(paid)
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def open_token(self, token: str) -> Account:
        """The account that logged in.

        :raises Unauthorized: the token opens nothing, or its time is over.
        """
        account = open_token(self._secret, self._by_digest, token, self._clock()) if self._secret else None
        if account is None:
            raise Unauthorized("this token opens nothing, or its time is over: log in again")
        return account

    async def _matches(self, sent: str, kept: ScryptHash) -> bool:
        await self._turns.acquire()
        try:
            return await self._check(sent, kept)
        finally:
            self._turns.release()

    def _hash_for(self, key: str, account: Account | None) -> ScryptHash:
        """The account's hash; for nobody's email address always the same one of the others', so as dear as that."""
        if account is not None:
            return scrypt_hash(account.password)
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        return self._hashes[int.from_bytes(digest[:8]) % len(self._hashes)]
