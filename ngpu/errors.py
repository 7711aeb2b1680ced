"""Everything that ngpu raises on purpose.

::

    NgpuError
    ├── ConfigError            the configuration is wrong; nothing was started or changed
    ├── BadRequest             400  the caller's input is wrong
    │   └── BadSettings             settings of a workspace that cannot be used, with everything that is wrong
    ├── Unauthorized           401  no credential, or one that opens nothing
    ├── Forbidden              403  the gate does not let this address through
    ├── NotFound               404  no such thing, or another tenant's
    ├── MethodNotAllowed       405  there is such a thing, but not for this method
    ├── RequestTimeout         408  the client sent its request too slowly
    ├── Conflict               409  not possible in the present state
    ├── PayloadTooLarge        413  a body over its limit
    ├── QueueFull              429  the workspace's queue is at its limit
    ├── TooManyTries           429  too many wrong logins
    ├── OverLimit              429  the workspace's rate or quota is used up
    ├── AdapterFailed          500  an app's adapter raised, or gave what is nothing that it may give
    ├── ResultTooLarge         502  a replica's reply is over the workspace's ``result_limit``
    ├── UpstreamError          502  a replica failed
    │   ├── DialFailed              no byte was sent: safe to try elsewhere
    │   ├── CallCut                 bytes were sent, then the connection broke: the outcome is unknown
    │   ├── BadReply                the replica's reply is no HTTP that we pass on
    │   ├── JobFailed               the worker says that its job failed, or would not take it
    │   └── CallTimeout        504  the replica took longer than the workspace's timeout
    └── Unavailable            503  nothing can serve this just now
        ├── NoReplica               no replica is healthy and free
        │   └── ReplicaRemoved          the one that was waited for, or all of the workspace, is there no more
        ├── PolicyFailed            a selection or placement policy could not choose
        ├── CheckerUnavailable      no source can tell what an address holds
        ├── FetchFailed             a service outside the fleet gave no reply
        │   └── FetchRefused            will not give what is asked for until somebody changes something
        ├── EngineError             a machine's container engine
        │   ├── EngineUnreachable       gave no answer in time: what was asked may have happened
        │   └── EngineRefused           will not do it until somebody changes something
        ├── ResultLost              the task store has forgotten a part of a result
        └── StoreUnavailable        the task store cannot read or write

Which status each one becomes is said once, in ``ngpu.wire.codes``.
"""

from __future__ import annotations

from typing import Any


class NgpuError(Exception):
    """The root; ``str()`` of it is a sentence for whoever caused it: what is wrong and what to do."""


class ConfigError(NgpuError):
    """A configuration that cannot be used.

    :param message: what is wrong, without the place.
    :param path: keys and indexes down to the value, from the block that the raiser was given.
    :cvar exit_status: of a command or a gateway that was given it.
    """

    exit_status = 2

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


class BadRequest(NgpuError):
    """The caller's input is wrong."""


class BadSettings(BadRequest):
    """Settings that were sent for a workspace cannot be used; nothing was changed.

    :param problems: for each of them the path of the value ("" for the whole), and what is wrong with it.
    """

    def __init__(self, problems: tuple[tuple[str, str], ...]) -> None:
        told = "; ".join(f"{path}: {message}" if path else message for path, message in problems[:3])
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        super().__init__(f"these settings cannot be used: {told}{more}")
        self.problems = problems


class Unauthorized(NgpuError):
    """No credential was sent where one is needed, or it opens nothing."""


class Forbidden(NgpuError):
    """The gate refuses this address."""


class NotFound(NgpuError):
    """There is no such thing, or it belongs to somebody else: callers cannot tell which."""


class MethodNotAllowed(NgpuError):
    """The address is right, the method is not.

    :param allowed: the methods that would do.
    """

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class RequestTimeout(NgpuError):
    """The client sent its request slower than the limits allow."""


class Conflict(NgpuError):
    """The call is right, but not in the present state."""


class PayloadTooLarge(NgpuError):
    """A body over its limit."""


class QueueFull(NgpuError):
    """The workspace has as many waiting tasks as it may have.

    :param retry_after: seconds after which another try makes sense.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyTries(NgpuError):
    """Somebody sent too many wrong passwords.

    :param retry_after: seconds after which another try makes sense.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OverLimit(NgpuError):
    """The workspace submits more than its ``rate`` or ``quota`` lets it.

    :param retry_after: seconds after which another try makes sense.
    :param standing: how each of its limits stands, as `ngpu.limits.Allowance`s; empty where the raiser cannot tell.
    """

    def __init__(self, message: str, retry_after: int, standing: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.standing = standing


class AdapterFailed(NgpuError):
    """An app's adapter raised what it may not, or gave what is no reply; the log says which, and shows where."""


class ResultTooLarge(NgpuError):
    """A reply that the workspace's ``result_limit`` does not let through."""


class UpstreamError(NgpuError):
    """A replica failed."""


class DialFailed(UpstreamError):
    """No connection to the replica, and no byte sent: another replica can be tried without harm."""


class CallCut(UpstreamError):
    """The connection broke after bytes had been sent: nobody knows what the replica did."""


class BadReply(UpstreamError):
    """The replica answered with something that cannot be passed on safely."""


class JobFailed(UpstreamError):
    """A worker's own failure, as an app's adapter understands it.

    :param reply: what the worker said, kept as the task's result: an `ngpu.adapter.WorkerReply`, or ``None``.
    """

    def __init__(self, message: str, reply: Any = None) -> None:
        super().__init__(message)
        self.reply = reply


class CallTimeout(UpstreamError):
    """The replica did not finish its reply in the workspace's ``timeout``."""


class Unavailable(NgpuError):
    """Nothing can serve this just now; it may be different soon.

    :param retry_after: seconds after which another try makes sense.
    """

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NoReplica(Unavailable):
    """No replica of the workspace is healthy and free."""


class ReplicaRemoved(NoReplica):
    """What was waited for does not come back: the replica, or its whole workspace, was removed."""


class PolicyFailed(Unavailable):
    """The workspace's selection or placement policy raised, or its choice is none; the log says which."""


class CheckerUnavailable(Unavailable):
    """No source can tell what an address holds."""


class FetchFailed(Unavailable):
    """A service outside the fleet gave no whole reply: no connection, an untrusted certificate, a cut, no time left."""


class FetchRefused(FetchFailed):
    """What is to be fetched is not there, or not for us: the message says what to change."""


class EngineError(Unavailable):
    """A machine's container engine did not do what it was asked for; the message is a sentence for the operator."""


class EngineUnreachable(EngineError):
    """It gave no answer, or none in time: what was asked may have happened or not."""


class EngineRefused(EngineError):
    """It answered no, and will go on doing so until somebody changes something: the message says what."""


class ResultLost(Unavailable):
    """The task store has forgotten pieces of a result that it had taken: it was killed, or a replica took over."""

    def __init__(self) -> None:
        super().__init__(
            "the store lost a part of the result while it came in; "
            "submit the task again if running it twice does no harm"
        )


class StoreUnavailable(Unavailable):
    """The task store cannot read or write; the message says why."""
