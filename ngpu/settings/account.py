"""``cloud``: who may use the calls of the published command-line client, and how long a login lasts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator, Field

from ngpu.settings.block import Block, concealed, refusal, written
from ngpu.settings.kinds import Name, PositiveDuration, Text, matching

LEAST_COST, MOST_COST = 2**13, 2**20
"""What ``n * r`` may be: the memory of one login is 128 times that, so 1 MiB to 128 MiB."""

MOST_WORK = 2**22
"""What ``n * r * p`` may be: a few seconds of one core for a login."""

_FORM = re.compile(r"scrypt\$([0-9]{1,9})\$([0-9]{1,4})\$([0-9]{1,4})\$((?:[0-9A-Fa-f]{2})+)\$((?:[0-9A-Fa-f]{2})+)")
_LEAST_SALT, _LEAST_HASH, _MOST_BYTES = 8, 16, 64


@dataclass(frozen=True, slots=True)
class ScryptHash:
    """A password's hash with what it was made of (RFC 7914 §2: ``n`` cost, ``r`` block size, ``p`` parallelism)."""

    n: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)

    def __str__(self) -> str:
        """As it stands in ``cloud.accounts[].password``."""
        return f"scrypt${self.n}${self.r}${self.p}${self.salt.hex()}${self.hash.hex()}"


def scrypt_hash(text: str) -> ScryptHash:
    """Read ``scrypt$n$r$p$salt$hash``.

    :raises PydanticCustomError: it is none, is cheaper to guess than it should be, or so dear that logins would hold
        the gateway up.
    """
    matched = _FORM.fullmatch(text)
    if matched is None:
        raise refusal("must be scrypt$n$r$p$salt$hash with salt and hash in hex; `ngpu account EMAIL` makes one")
    n, r, p = (int(matched[index]) for index in (1, 2, 3))
    salt, digest = bytes.fromhex(matched[4]), bytes.fromhex(matched[5])
    if n < 2 or n & (n - 1) or not r or not p:
        raise refusal("scrypt's n must be a power of 2, r and p at least 1")
    if n * r < LEAST_COST:
        raise refusal(f"is too easy to guess: scrypt's n * r must be {LEAST_COST} or more, such as 16384 * 8")
    if n * r > MOST_COST or n * r * p > MOST_WORK:
        raise refusal(
            f"takes too much to check: scrypt's n * r may be {MOST_COST}, n * r * p {MOST_WORK}, such as 16384 * 8 * 1"
        )
    if not _LEAST_SALT <= len(salt) <= _MOST_BYTES or not _LEAST_HASH <= len(digest) <= _MOST_BYTES:
        raise refusal(
            f"must have a salt of {_LEAST_SALT} to {_MOST_BYTES} bytes, a hash of {_LEAST_HASH} to {_MOST_BYTES}"
        )
    return ScryptHash(n, r, p, salt, digest)


def _checked(text: str) -> str:
    scrypt_hash(text)
    return text


class Account(Block):
    """A user of the published command-line client; ``password`` hashes what that client sends, an md5 in hex."""

    email: Annotated[Name, matching(r"\S{1,254}", "must be an email address, without spaces")]
    password: Annotated[Text, AfterValidator(_checked)] = Field(repr=False)

    @property
    def key(self) -> str:
        """The one spelling in which two email addresses compare."""
        return email_key(self.email)


def email_key(email: str) -> str:
    """An email address in the one spelling in which two of them compare."""
    return email.strip().casefold()


class Cloud(Block):
    """Accounts of the published command-line client (wire contract §7); a login lasts ``token_ttl`` seconds."""

    accounts: tuple[Account, ...] = concealed(())
    token_ttl: PositiveDuration = written("12h")
