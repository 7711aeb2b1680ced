"""The admin token where requests bring it themselves: whether it is right, and how often somebody may be wrong."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable

from ngpu.cloud.attempts import Attempts
from ngpu.errors import Unauthorized
from ngpu.http.session import BY_ADDRESS

WANTED = "send the admin token: Authorization: Bearer <content of admin.token_file>"

REMEMBERED = 1000
"""Wrong tokens that are remembered; beyond that the one goes that was not sent for the longest time."""

_EVERYBODY = "admin"


class Bearers:
    """Looks at tokens.

    A wrong one is paid for by the address it comes from, as often as a wrong login may be; a caller who sends the
    same wrong one again, as whatever has an old token does, guesses nothing by that and pays once. Where the right
    one was shown before it is always let in, so that nobody who guesses there locks its owner out. Logins have a
    bucket of their own, which guesses here do not empty.

    :param token: the right one.
    :param clock: seconds.
    """

    def __init__(self, token: str, clock: Callable[[], float]) -> None:
        self._token = token.removeprefix("ngpu_").encode()  # as what callers show comes here
        self._attempts = Attempts(BY_ADDRESS)
        self._clock = clock
        self._salt = secrets.token_bytes(32)
        self._wrong: OrderedDict[bytes, None] = OrderedDict()

    def look(self, shown: str, address: str) -> None:
        """See that it is the token.

        :param shown: without ``ngpu_``, see `ngpu.tenancy.credential_of`.
        :param address: where the caller is.
        :raises Unauthorized: it is not.
        :raises TooManyTries: there were too many wrong ones; whether this is the token is not told.
        """
        right = hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), self._token)
        if right and self._attempts.knows(address, _EVERYBODY):
            return
        paid = self._attempts.begin(address, None, self._clock())
        if right:
            self._attempts.give_back(paid)
            self._attempts.know(address, _EVERYBODY)
            return
        if self._again(shown):
            self._attempts.give_back(paid)
        raise Unauthorized(WANTED)

    def _again(self, shown: str) -> bool:
        """Whether a wrong token was sent before, by whomever; from now on it was."""
        key = hmac.digest(self._salt, shown.encode("utf-8", "surrogatepass"), hashlib.sha256)
        before = key in self._wrong
        self._wrong[key] = None
        self._wrong.move_to_end(key)
        if len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)
        return before
