"""The tokens that logins give out.

A token says whose it is and when it ends, under an HMAC, so nothing is kept for each: the published client logs in for
every command that it runs, and each login would leave a record behind. The key of the HMAC is made of two secrets: one
in the store, and the account's password hash in the configuration. So tokens outlive a restart, none can be made by
whoever has only one of the two, and they end at once when the account or its password leaves the configuration.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from ngpu.settings import Account

_MARK = "ngpu1"


def account_digest(account: Account) -> str:
    """What a token calls its account."""
    return hashlib.sha256(account.key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def make_token(secret: bytes, account: Account, ends: float) -> str:
    """A token for an account.

    :param secret: the store's.
    :param ends: seconds since the epoch.
    """
    body = f"{_MARK}.{account_digest(account)}.{int(ends)}"
    return f"{body}.{_sign(secret, account, body)}"


def open_token(secret: bytes, accounts: Mapping[str, Account], token: str, now: float) -> Account | None:
    """The account that a token opens; ``None`` when it opens none, or does no more.

    :param accounts: by their digest.
    """
    parts = token.split(".")
    if len(parts) != 4 or parts[0] != _MARK:
        return None
    account = accounts.get(parts[1])
    if account is None:
        return None
    right = _sign(secret, account, token.rpartition(".")[0])
    if not hmac.compare_digest(right.encode(), parts[3].encode("utf-8", "replace")):
        return None
    return account if now < int(parts[2]) else None


def _sign(secret: bytes, account: Account, body: str) -> str:
    key = hmac.new(secret, account.password.encode(), hashlib.sha256).digest()
    return hmac.new(key, body.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
