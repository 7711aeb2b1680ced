"""One node's engine: looked at again and again, asked for one step after another. What it does harms no other node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from ngpu.containers import Container, IContainerEngine
from ngpu.errors import EngineRefused, EngineUnreachable, NgpuError
from ngpu.families import described
from ngpu.fleet.situation import by_copy
from ngpu.fleet.steps import Launch, NotOurs, Remove, Restart, Start, Step, check_may, name_of
from ngpu.model import Node
from ngpu.waiting import confined

LOOK_WITHIN, STEP_WITHIN = 60.0, 180.0
"""Seconds after which an engine that keeps no deadline of its own is given up."""

CLOSE_WITHIN = 5.0
"""Seconds that an engine gets to let go of what it has, while the gateway stops."""

REST = 5.0
"""Seconds until a container that could not be ended is asked to end again."""

JITTER = 0.1
"""Share of the interval by which looks are spread, so that a large fleet is not asked all at once."""

T = TypeVar("T")
Told = Callable[[Step, Exception | None], None]


@dataclass(frozen=True)
class Post:
    """A node that has an engine, as the configuration describes it; ``memory`` is bytes, 0 for what its engine says."""

    key: str
    node: Node
    engine: IContainerEngine
    plugin: str
    gpu_ids: tuple[str, ...] = ()
    memory: int = 0


class Station:
    """Looks at one engine and works off its steps.

    A container that is to end has its grace for that, which may be an hour: this goes on beside all else, and holds up
    nothing but steps about the same container.

    :param interval: seconds between two looks.
    :param changed: called when what is seen has changed, or steps are over.
    :ivar up: whether it answered the last look; ``None`` before the first.
    :ivar containers: ours there, by their copy.
    :ivar reason: why it does not answer.
    :ivar stale: steps were made since the last look.
    :ivar as_of: when the look began that showed what is seen.
    """

    log = Logger("ngpu.fleet")

    def __init__(
        self, post: Post, fleet: str, interval: float, clock: IReactorTime, rng: Random, changed: Callable[[], None]
    ) -> None:
        self.post = post
        self.up: bool | None = None
        self.seen = False
        self.stale = False
        self.as_of = 0.0
        self.memory = post.memory
        self.containers: Mapping[str, Container] = {}
        self.reason = ""
        self._fleet = fleet
        self._interval = interval
        self._clock = clock
        self._rng = rng
        self._changed = changed
        self._timer: IDelayedCall | None = None
        self._looking: Deferred[None] | None = None
        self._working: Deferred[None] | None = None
        self._ending: dict[str, Deferred[Any]] = {}
        self._rests: dict[str, float] = {}
        self._turn = 0
        self._asked = self._told = False
        self._stopped = True

    @property
    def busy(self) -> bool:
        """Whether what is seen may be behind what was done."""
        return self._working is not None or self.stale

    def start(self) -> None:
        """Look now, then at each interval."""
        self._stopped = False
        self._look_now()

    def look(self) -> None:
        """Look now, and say when that is done, also where nothing has changed; after a look that is under way."""
        self._asked = True
        if self._looking is None and not self._stopped:
            self._look_now()

    def stop(self) -> None:
        """Look no more, and leave steps where they are; the containers run on."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        for under_way in (self._looking, self._working, *self._ending.values()):
            if under_way is not None:
                under_way.cancel()

    def work(self, steps: Sequence[Step], told: Told, may: Callable[[], bool] = lambda: True) -> None:
        """Make steps one after another, then look at what has become of them; nothing happens while others are made.

        :param told: called with each step that was tried, and why it failed.
        :param may: asked before each call that changes something; once it is false, the rest is left.
        """
        free = [step for step in steps if self._is_free(name_of(step))]
        if not free or self._working is not None or self._stopped:
            return
        self.stale = True
        self._working = Deferred()
        working = Deferred.fromCoroutine(self._make(free, told, may))
        if not working.called:
            self._working = working
        working.addBoth(self._worked)

    def _worked(self, result: object) -> None:
        self._working = None
        self._over(result)

    def _over(self, result: object) -> None:
        if isinstance(result, Failure) and not result.check(CancelledError):
            self.log.failure("the steps of a node stumbled", failure=result)
        if not self._stopped:
            self._look_now()

    async def _make(self, steps: Sequence[Step], told: Told, may: Callable[[], bool]) -> None:
        for step in steps:
            if not may():
                return
            if isinstance(step, Restart | Remove):
                self._end(step, told)
                continue
            error = await self._try(step, may)
            if isinstance(error, NotOurs):
                return
            told(step, error)
            if isinstance(error, EngineUnreachable):
                return

    def _is_free(self, name: str) -> bool:
        return name not in self._ending and self._clock.seconds() >= self._rests.get(name, 0.0)

    def _end(self, step: Restart | Remove, told: Told) -> None:
        def ended(error: Exception | Failure | None) -> None:
            del self._ending[step.name]
            now = self._clock.seconds()
            self._rests = {name: until for name, until in self._rests.items() if until > now}
            if not isinstance(error, Failure):
                if error is not None:
                    self._rests[step.name] = now + REST
                told(step, error)
            self.stale = True
            self._over(error)

        self._ending[step.name] = Deferred()  # while it takes its first steps
        ending = Deferred.fromCoroutine(self._try(step))
        if not ending.called:
            self._ending[step.name] = ending
        ending.addBoth(ended)

    async def _try(self, step: Step, may: Callable[[], bool] = lambda: True) -> Exception | None:
        engine, within = self.post.engine, STEP_WITHIN
        try:
            if isinstance(step, Launch):
                await self._within(lambda: engine.create(step.spec), within)
                check_may(may)
                await self._within(lambda: engine.start(step.spec.name), within)
            elif isinstance(step, Start):
                await self._within(lambda: engine.start(step.name), within)
            elif isinstance(step, Restart):
                await self._within(lambda: engine.restart(step.name, step.grace), within + step.grace)
            elif isinstance(step, Remove):
                await self._within(lambda: engine.remove(step.name, step.grace), within + step.grace)
        except (NgpuError, defer.TimeoutError) as error:
            return _sentence(error, within)
        except CancelledError:
            raise
        except Exception as error:  # a plugin's own fault costs its own node
            return EngineRefused(f"the engine's plugin failed: {described(error)}")
        return None

    def _look_now(self) -> None:
        self._turn += 1
        if self._looking is not None:
            self._looking.cancel()  # it began before what was done since
        self._asked, self._told = False, self._asked or self._told
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._looking = Deferred.fromCoroutine(self._look())
        self._looking.addBoth(self._looked, self._turn)

    def _looked(self, result: object, turn: int) -> None:
        if turn != self._turn:
            return
        self._looking = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self.log.failure("a look at a node stumbled", failure=result)
        if self._asked and not self._stopped:
            self._look_now()
        elif not self._stopped:
            seconds = self._interval * (1 + JITTER * (2 * self._rng.random() - 1))
            self._timer = self._clock.callLater(seconds, self._look_now)

    async def _look(self) -> None:
        before, began = (self.up, self.containers, self.reason, self.busy), self._clock.seconds()
        try:
            if not self.up:
                info = await self._within(lambda: self.post.engine.info(), LOOK_WITHIN)
                self.memory = self.post.memory or int(info.memory)
            found = by_copy(await self._within(lambda: self.post.engine.containers(self._fleet), LOOK_WITHIN))
        except (NgpuError, defer.TimeoutError) as error:
            self.up, self.reason = False, str(_sentence(error, LOOK_WITHIN))
        except CancelledError:
            raise
        except Exception as error:
            self.up, self.reason = False, f"the engine's plugin failed: {described(error)}"
        else:
            self.up, self.reason, self.seen, self.containers = True, "", True, found
            self.as_of = began
            self.stale = self._working is not None
        if before[0] is not self.up:
            word = "answers" if self.up else "does not answer"
            self.log.emit(
                LogLevel.info if self.up else LogLevel.error,
                "the engine of {node} {word} {reason}",
                journal="node_back" if self.up else "node_away",
                node=self.post.node.address,
                word=word,
                reason=self.reason,
            )
        if self._told or before != (self.up, self.containers, self.reason, self.busy):
            self._told = False
            self._changed()

    async def close(self) -> None:
        """Have its engine let go of what it has."""
        try:
            await self._within(lambda: self.post.engine.close(), CLOSE_WITHIN)
        except Exception as error:  # a plugin's own fault
            why = described(_sentence(error, CLOSE_WITHIN))
            self.log.error("the engine of {node} was not closed: {why}", node=self.post.node.address, why=why)

    async def _within(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        return await confined(call).addTimeout(seconds, self._clock)


def _sentence(error: Exception, seconds: float) -> Exception:
    if isinstance(error, defer.TimeoutError):
        return EngineUnreachable(f"the engine gave no answer within {seconds:g} s")
    return error
