"""Waiting for Deferreds without owning them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred, DeferredList, NotACoroutineError, fail
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")


class Handle:
    """What a coroutine can be cancelled by that has only begun, so that its Deferred is not there yet.

    :ivar work: its Deferred, once there is something to be cancelled.
    """

    work: Deferred[Any]

    def cancel(self) -> None:
        """Cancel it."""
        self.work.cancel()


def deferred(work: Awaitable[T]) -> Deferred[T]:
    """A Deferred, as it is, or that of a coroutine."""
    return work if isinstance(work, Deferred) else Deferred.fromCoroutine(cast(Any, work))


def shielded(source: Deferred[T]) -> Deferred[T]:
    """Fires as the source does, and takes its result; cancelling it leaves the source at its work.

    For writes that must be followed up even though the client that caused them has gone.
    """
    shield: Deferred[T] = Deferred()
    source.addBoth(_pass_on, shield)
    return shield


def echo(source: Deferred[Any]) -> Deferred[None]:
    """Fires when the source does, and takes nothing from it."""
    echoed: Deferred[None] = Deferred()

    def pass_on(result: Any) -> Any:
        if not echoed.called:
            echoed.callback(None)
        return result

    source.addBoth(pass_on)
    return echoed


def confined(call: Callable[[], Awaitable[T]], cut: Callable[[], None] = lambda: None) -> Deferred[T]:
    """What a plugin's method gives, whatever the method is like.

    It fails where the method raises before there is anything to wait for, gives nothing that can be waited for, tries
    to end the process, or says that it was cancelled and was not. Cancelling it cancels the method, and it is over
    then, though the method may go on: ``except Exception`` takes a CancelledError for a failure like any other.

    :param cut: called before the method is cancelled.
    """
    unwanted = False

    def cancel(source: Deferred[T]) -> None:
        nonlocal unwanted
        unwanted = True
        cut()
        work.cancel()

    def told(result: Any) -> None:
        if over.called:
            return
        if isinstance(result, Deferred):
            result = Failure(TypeError("it gave a Deferred in place of what it gives: await it there"))
        elif isinstance(result, Failure) and not unwanted and not _is_plain(result.value):
            result = Failure(RuntimeError(f"it raised {type(result.value).__name__}"))
        over.callback(result)

    over: Deferred[T] = Deferred(cancel)
    try:
        work = deferred(call())
    except NotACoroutineError as error:
        work = fail(TypeError(f"it gave nothing that can be waited for: {error}"))
    except BaseException:
        work = fail()
    work.addBoth(told)
    return over


def _is_plain(error: BaseException | None) -> bool:
    """Whether it may be raised where a method was awaited, without being taken for something else."""
    return isinstance(error, Exception) and not isinstance(error, CancelledError)


def _pass_on(result: T | Failure, shield: Deferred[T]) -> None:
    if not shield.called:
        shield.callback(result)


async def all_over(works: Callable[[], Iterable[Deferred[Any] | Handle]], seconds: float, clock: IReactorTime) -> None:
    """Wait until all of them are over, those that come meanwhile too, or for so many seconds.

    :param works: gives those that there are.
    """
    until = clock.seconds() + seconds
    known: set[Deferred[Any] | Handle] = set()
    while (begun := set(works()) - known) and clock.seconds() < until:
        known |= begun
        echoes = [echo(each.work if isinstance(each, Handle) else each) for each in begun]
        over = DeferredList(echoes, consumeErrors=True)
        await over.addTimeout(until - clock.seconds(), clock, lambda result, _: None)
