"""Passwords of accounts. What is hashed is what the client sends: the md5 of one, in hex (wire contract §7)."""

from __future__ import annotations

import hashlib
import hmac

from ngpu.settings import ScryptHash

N, R, P = 2**14, 8, 1
"""What new hashes are made with: a login takes 16 MiB and a fraction of a second."""

SALT_BYTES, HASH_BYTES = 16, 32

_OVERHEAD = 1 << 20


def sent_for(password: str) -> str:
    """What the client sends for a password."""
    return hashlib.md5(password.encode("utf-8"), usedforsecurity=False).hexdigest()


def hash_sent(sent: str, salt: bytes) -> ScryptHash:
    """The hash of what a client sends, for ``cloud.accounts``."""
    return ScryptHash(N, R, P, salt, _digest(sent, N, R, P, salt, HASH_BYTES))


def matches(sent: str, kept: ScryptHash) -> bool:
    """Whether this is what the hash was made of. Slow on purpose: call it in a thread."""
    found = _digest(sent, kept.n, kept.r, kept.p, kept.salt, len(kept.hash))
    return hmac.compare_digest(found, kept.hash)


def _digest(sent: str, n: int, r: int, p: int, salt: bytes, length: int) -> bytes:
    memory = 128 * r * (n + p + 2) + _OVERHEAD
    text = sent.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=length)
