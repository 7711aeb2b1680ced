"""`ngpu.testing.verify_plugin` finds each way to break a contract, and names it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from zope.interface import implementer

from ngpu.adapter import Adapter, IAppAdapter, Peer, WorkerReply
from ngpu.errors import CheckerUnavailable, ConfigError, FetchFailed, JobFailed, NgpuError
from ngpu.interfaces import Fetched, FetchRequest, IInscriptionChecker, IPluginFactory, ISelectionPolicy, Option
from ngpu.model import Holdings
from ngpu.placing import IPlacementPolicy
from ngpu.plugin import Factory
from ngpu.testing import HOLDER, candidate, load_plugin, verify_plugin


def refused(factory: Any, said: str, **given: Any) -> None:
    with pytest.raises(AssertionError) as broken:
        verify_plugin(factory, **given)
    assert said in str(broken.value), str(broken.value)
    assert "broken" in str(broken.value) or f"{factory.family} {factory.name}: " in str(broken.value)


# --- every family -------------------------------------------------------------------------------------------------


def policy(select: Callable[..., Any], make: Any = None, options: Any = (), **said: Any) -> Factory:
    """A plugin of one function."""

    @implementer(ISelectionPolicy)
    class Policy:
        def __init__(self, context: Any) -> None:
            self.context = context
            self.memory: list[Any] = []

        def select(self, replicas: Any, request: Any) -> Any:
            return select(self, replicas, request)

    parts = {"family": "selection", "name": "mine", "summary": "A test's.", **said}
    return Factory(make=make or (lambda options, context: Policy(context)), options=options, **parts)


def first(self: Any, replicas: Any, request: Any) -> Any:
    return replicas[0]


def made(options: Any, context: Any) -> Any:
    return policy(first).from_options({}, context)


def no_config_error(options: Any, context: Any) -> Any:
    return made({"depth": int(options.get("depth", 1))}, context)


def wrong_path(options: Any, context: Any) -> Any:
    if options.get("depth", 1) != 1:
        raise ConfigError("no", ("options", "depth"))
    return made(options, context)


def changing(options: Any, context: Any) -> Any:
    options.setdefault("depth", 3)
    return made(options, context)


DEPTH = (Option("depth", "how far", 1),)


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (
            policy(first, family="policy"),
            "its family is 'policy'; there are selection, checker, adapter, placement, engine",
        ),
        (policy(first, name="My Own"), "not in snake_case"),
        (policy(first, summary=""), "its summary is not one line of text"),
        (policy(first, options=["depth"]), "no Option(name, meaning, …)"),
        (policy(first, make=lambda options, context: object()), "what it makes is not as its interface says"),
        (policy(first, make=lambda options, context: 1 / 0), "raised something that is no ConfigError"),
        (
            policy(first, make=no_config_error, options=DEPTH),
            "from_options must raise ConfigError over {'depth': None}",
        ),
        (policy(first, make=wrong_path, options=DEPTH), "has the path ('options', 'depth'), which is no option's"),
        (policy(first, make=changing, options=DEPTH), "changed the options"),
    ],
)
def test_what_any_plugin_may_break(factory: Any, said: str) -> None:
    refused(factory, said)


def test_options_that_a_configuration_could_not_give_are_told() -> None:
    refused(policy(first), "declares no option 'depth'", options={"depth": 1})


def test_options_of_the_test_that_are_wrong_are_told() -> None:
    strict = policy(first, make=wrong_path, options=DEPTH)
    refused(strict, "refuses the options of this test, at options.depth", options={"depth": 2})


def test_what_discovery_would_not_find_is_told() -> None:
    @implementer(IPluginFactory)
    class Bare:
        family, name, summary, options = "selection", "bare", "A test's.", ()

        def from_options(self, options: Any, context: Any) -> Any:
            return made(options, context)

    refused(Bare(), "it is no twisted.plugin.IPlugin")
    refused(object(), "is broken")


# --- selection policies -------------------------------------------------------------------------------------------


async def waiting(self: Any, replicas: Any, request: Any) -> Any:
    return replicas[0]


def sorting(self: Any, replicas: Any, request: Any) -> Any:
    replicas.sort(key=lambda each: each.in_flight)
    return replicas[0]


def counting(self: Any, replicas: Any, request: Any) -> Any:
    replicas[0].in_flight += 1
    return replicas[0]


def warm_only(self: Any, replicas: Any, request: Any) -> Any:
    return min(replicas, key=lambda each: each.latency * each.in_flight)


def in_pairs(self: Any, replicas: Any, request: Any) -> Any:
    return min(self.context.rng.sample(replicas, 2), key=lambda each: each.in_flight)


def remembering(self: Any, replicas: Any, request: Any) -> Any:
    self.memory = self.memory or list(replicas)
    return self.memory[0]


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (lambda self, replicas, request: replicas[0].replica, "which is none of 8 replicas"),
        (lambda self, replicas, request: replicas[0].replica.id, "'r0', which is none of 8 replicas"),
        (lambda self, replicas, request: list(replicas), "which is none of"),
        (lambda self, replicas, request: False, "returned False"),
        (lambda self, replicas, request: None, "select never chose one of 8 replicas"),
        (lambda self, replicas, request: random.choice(replicas), "all chance must come from context.rng"),
        (lambda self, replicas, request: replicas[5], "select raised over 1 replica;"),
        (lambda self, replicas, request: replicas[0] if len(replicas) < 99 else 1 / 0, "raised over 1000 replicas;"),
        (lambda self, replicas, request: dict(request.headers)[b"x-user"] and replicas[0], "(KeyError: b'x-user')"),
        (waiting, "select is asynchronous"),
        (sorting, "change neither the sequence nor what is in it (AttributeError"),
        (counting, "change neither the sequence nor what is in it (FrozenInstanceError"),
        (warm_only, "(TypeError: unsupported operand"),
        (in_pairs, "raised over 1 replica;"),
        (remembering, "keep none from one choice to the next"),
    ],
)
def test_what_a_policy_may_break(select: Any, said: str) -> None:
    refused(policy(select), said)


def test_a_policy_for_some_replicas_only_is_shown_them() -> None:
    def fussy(self: Any, replicas: Any, request: Any) -> Any:
        return next((each for each in replicas if each.replica.node.labels.get("rack") == "7"), None)

    refused(policy(fussy), "hand some of them to verify_plugin as replicas=")
    verify_plugin(policy(fussy), replicas=[candidate("a", labels={"rack": "7"}), candidate("b")])


# --- placement policies -------------------------------------------------------------------------------------------


def placement(cost: Callable[..., Any]) -> Factory:
    """A plugin of one function."""

    @implementer(IPlacementPolicy)
    class Policy:
        def __init__(self, context: Any) -> None:
            self.context = context
            self.asked = 0

        def cost(self, offer: Any, demand: Any) -> Any:
            return cost(self, offer, demand)

    return Factory("placement", "mine", "A test's.", lambda options, context: Policy(context))


def wearying(self: Any, offer: Any, demand: Any) -> Any:
    self.asked += 1
    return (self.asked,)


def relabelling(self: Any, offer: Any, demand: Any) -> Any:
    offer.node.labels["seen"] = "yes"
    return (0,)


async def pricing(self: Any, offer: Any, demand: Any) -> Any:
    return (0,)


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (lambda self, offer, demand: offer.copies, "cost returned 0; it must be a tuple of numbers"),
        (lambda self, offer, demand: (offer.node.address,), "it must be a tuple of numbers"),
        (lambda self, offer, demand: None, "cost returned None"),
        (lambda self, offer, demand: (float("nan"),), "NaN compares with nothing"),
        (lambda self, offer, demand: (1 / offer.gpus_free,), "cost raised over Offer(node=Node(address='0x0'"),
        (lambda self, offer, demand: (offer.node.labels["area"] == "eu",), "(KeyError: 'area')"),
        (lambda self, offer, demand: (self.context.rng.random(),), "not on chance, time or what it was asked before"),
        (lambda self, offer, demand: (random.random(),), "not on chance, time or what it was asked before"),
        (wearying, "not on chance, time or what it was asked before"),
        (relabelling, "cost changed the offer or the demand"),
        (pricing, "cost is asynchronous"),
    ],
)
def test_what_a_placement_policy_may_break(cost: Any, said: str) -> None:
    refused(placement(cost), said)
    verify_plugin(placement(lambda self, offer, demand: (offer.copies, -offer.gpus_free)))


# --- inscription checkers -----------------------------------------------------------------------------------------

URL = "http://source.example/"
LONGEST = 10.0


def source(asked: FetchRequest) -> Fetched:
    """Two requests tell everything: whether an address is known, and what it holds."""
    held = HOLDER in asked.url
    if "known" in asked.url:
        return Fetched(200, json.dumps({"known": held}).encode())
    return Fetched(200, json.dumps({"ordi": "12.5"} if held else {}).encode())


class Right:
    """A checker without a flaw; the others below have one each."""

    timeout = 3.0

    def __init__(self, context: Any) -> None:
        self.context = context

    async def get(self, path: str) -> Any:
        try:
            reply = await self.context.fetcher.fetch(FetchRequest(URL + path), self.timeout)
            if reply.status != 200:
                raise CheckerUnavailable("no answer")
            return json.loads(reply.body)
        except (NgpuError, ValueError, RecursionError) as error:
            raise CheckerUnavailable("no answer") from error

    async def holdings(self, address: str, tickers: Any) -> Holdings:
        if not (await self.get(f"known/{address}"))["known"]:
            return Holdings({})
        held = await self.get(f"held/{address}")
        return Holdings({ticker: Decimal(held[ticker.lower()]) for ticker in tickers if ticker.lower() in held})


class Guessing(Right):
    """Takes a failure for nothing."""

    async def get(self, path: str) -> Any:
        try:
            return await super().get(path)
        except CheckerUnavailable:
            return {"known": False}


class GuessingLate(Right):
    """The same, but only where the second request fails."""

    async def get(self, path: str) -> Any:
        try:
            return await super().get(path)
        except CheckerUnavailable:
            if "held" in path:
                return {}
            raise


class LettingOut(Right):
    async def get(self, path: str) -> Any:
        return json.loads((await self.context.fetcher.fetch(FetchRequest(URL + path), self.timeout)).body)


class Floats(Right):
    async def holdings(self, address: str, tickers: Any) -> Any:
        found = await super().holdings(address, tickers)
        return Holdings({ticker: float(amount) for ticker, amount in found.balances.items()})  # type: ignore[misc]


class Upper(Right):
    async def holdings(self, address: str, tickers: Any) -> Any:
        found = await super().holdings(address, tickers)
        return Holdings({ticker.upper(): amount for ticker, amount in found.balances.items()})


class Short(Right):
    async def holdings(self, address: str, tickers: Any) -> Any:
        found = await super().holdings(address, tickers)
        return Holdings({ticker: amount - 1 for ticker, amount in found.balances.items()})


class ForEverybody(Right):
    async def holdings(self, address: str, tickers: Any) -> Any:
        return await super().holdings(HOLDER, tickers)


class Mapped(Right):
    async def holdings(self, address: str, tickers: Any) -> Any:
        return (await super().holdings(address, tickers)).balances


class Patient(Right):
    timeout = 30.0


class Silent(Right):
    async def holdings(self, address: str, tickers: Any) -> Any:
        await super().holdings(address, tickers)
        await Deferred()


class Stubborn(Right):
    async def get(self, path: str) -> Any:
        try:
            return await super().get(path)
        except CancelledError:
            return {"known": False}


class Leaving(Right):
    """Does not take its request with it."""

    async def get(self, path: str) -> Any:
        asked = Deferred.fromCoroutine(super().get(path))
        answer: Deferred[Any] = Deferred()
        asked.addCallbacks(answer.callback, answer.errback)
        asked.addErrback(lambda failure: None)
        return await answer


class Plain(Right):
    def holdings(self, address: str, tickers: Any) -> Any:
        return Holdings({})


class Offline(Right):
    async def holdings(self, address: str, tickers: Any) -> Any:
        return Holdings({ticker: Decimal("12.5") for ticker in tickers if address == HOLDER})


def checker(kind: type[Right]) -> Factory:
    return Factory(
        "checker", "mine", "A test's.", lambda options, context: implementer(IInscriptionChecker)(kind)(context)
    )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Guessing, "a source that cannot be reached must raise CheckerUnavailable, and not give Holdings"),
        (GuessingLate, "cannot be reached at request 2 must raise CheckerUnavailable"),
        (LettingOut, "must raise CheckerUnavailable (FetchFailed: connection refused)"),
        (Floats, "a balance is 12.5, and no exact Decimal above zero"),
        (Upper, "asked for ['ordi'] it told of 'ORDI'"),
        (Short, "it found {'ordi': Decimal('11.5')}, and not {'ordi': Decimal('12.5')}"),
        (ForEverybody, "an address that has none holds something"),
        (Mapped, "with a source in good health it did not return Holdings"),
        (Patient, "it gave a request 30.0 s; a gate waits for 10 s in all"),
        (Silent, "holdings gave no answer although its source had"),
        (Stubborn, "cancelled while it waits for its source it must end at once"),
        (Leaving, "it must cancel its requests too"),
        (Plain, "holdings must be a coroutine function"),
        (Offline, "it never asked the source of this test"),
    ],
)
def test_what_a_checker_may_break(kind: Any, said: str) -> None:
    verify_plugin(checker(Right), source=source, holds={"ordi": "12.5"})
    refused(checker(kind), said, source=source, holds={"ordi": "12.5"})


def test_a_checker_that_waits_for_its_turn_on_the_clock_is_given_the_time() -> None:
    class Slow(Right):
        async def get(self, path: str) -> Any:
            await deferLater(self.context.clock, 5)
            return await super().get(path)

    verify_plugin(checker(Slow), source=source, holds={"ordi": "12.5"})


# --- app adapters -------------------------------------------------------------------------------------------------


class Steady(Adapter):
    """An adapter without a flaw; the others below have one each."""

    async def run(self, work: Any) -> WorkerReply:
        if work.checkpoint is None:
            job = (await work.call("POST", "/jobs", body=work.request)).object().get("id")
            if not isinstance(job, str):
                raise JobFailed("no job")
            await work.save({"job": job})

        async def ask() -> Any:
            reply = await work.call("GET", f"/jobs/{work.checkpoint['job']}")
            return reply if reply.object().get("state") == "done" else None

        return await work.poll_until(ask, 1.0)


class Forgetful(Steady):
    async def run(self, work: Any) -> WorkerReply:
        work.checkpoint = None
        return await super().run(work)


class Trusting(Steady):
    async def run(self, work: Any) -> WorkerReply:
        if work.checkpoint is None:
            await work.save({"job": json.loads((await work.call("POST", "/jobs")).body)["id"]})
        return await super().run(work)


class Swallowing(Steady):
    async def run(self, work: Any) -> WorkerReply:
        try:
            return await super().run(work)
        except CancelledError:
            return WorkerReply(200)


class Nothing(Steady):
    async def run(self, work: Any) -> Any:
        await super().run(work)


class Endless(Steady):
    async def run(self, work: Any) -> WorkerReply:
        async def ask() -> None:
            await work.call("GET", "/")

        await work.poll_until(ask, 1.0)
        raise AssertionError


class CancelsBadly(Steady):
    async def cancel(self, work: Any) -> None:
        await work.call("DELETE", work.checkpoint["job"])


class Fussy(Steady):
    async def check(self, request: bytes, urls: Any) -> None:
        json.loads(request)


class Refusing(Steady):
    async def check(self, request: bytes, urls: Any) -> None:
        await urls.check(None, "url")


class BadStatus(Steady):
    def status(self, task: Any, result: bytes) -> Any:
        return {"status": task.status}


class BytesStatus(Steady):
    def status(self, task: Any, result: bytes) -> Any:
        return {"result": result}


class ListStatus(Steady):
    def status(self, task: Any, result: bytes) -> Any:
        return [1]


class Odd(Steady):
    mode: Any = "later"


class Timeless(Steady):
    deadline: Any = None


class Lonely(Steady):
    peers: Any = ("tts",)


class Peered(Steady):
    peers = (Peer("tts", None, ("tts",)),)


class Undecided(Steady):
    direct: Any = None


def worker(call: Any) -> Any:
    return {"id": "7"} if call.method == "POST" else {"state": "done"}


def adapter(kind: type[Any]) -> Factory:
    return Factory("adapter", "mine", "A test's.", lambda options, context: implementer(IAppAdapter)(kind)())


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Forgetful, "with the checkpoint {'job': '7'} it made a call of before it again: POST /jobs"),
        (Trusting, "run must return a WorkerReply or raise an NgpuError (KeyError: 'id')"),
        (Swallowing, "cut off in call 1, run must end there"),
        (Nothing, "with workers in good health run must return a WorkerReply"),
        (Endless, "this could go on for ever"),
        (CancelsBadly, "cancel, after a cut in call 1, may only raise an NgpuError (TypeError"),
        (Fussy, "check may only raise BadRequest, over b''"),
        (Refusing, "check refuses the request of this test"),
        (BadStatus, "status must return an object for JSON, or None (AttributeError"),
        (BytesStatus, "status must return an object for JSON, or None (TypeError"),
        (ListStatus, "status returned [1]"),
        (Odd, "mode is 'later'"),
        (Timeless, "deadline is None"),
        (Lonely, "peers are ('tts',)"),
        (Undecided, "direct is None"),
    ],
)
def test_what_an_adapter_may_break(kind: Any, said: str) -> None:
    verify_plugin(adapter(Peered), worker=worker)
    refused(adapter(kind), said, worker=worker)


# --- a plugin's file ----------------------------------------------------------------------------------------------


def test_a_file_holds_one_plugin(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    text = "from ngpu.plugin import Factory\n"
    file.write_text(text)
    with pytest.raises(AssertionError, match="holds no plugin: it needs a Factory"):
        load_plugin(file)
    file.write_text(text + "a = b = Factory('selection', 'a', 'A.', lambda options, context: None)\n")
    assert load_plugin(file).name == "a"
    file.write_text(
        text + "a, b = (Factory('selection', name, 'A.', lambda options, context: None) for name in 'ab')\n"
    )
    with pytest.raises(AssertionError, match="holds 2 plugins"):
        load_plugin(file)


def test_failures_of_the_source_are_of_the_kinds_that_a_fetcher_raises() -> None:
    """What the suite raises in place of the network is what `IFetcher` documents."""
    from ngpu.errors import PayloadTooLarge
    from ngpu.testing.checkers import FAILURES

    errors = {type(reply) for reply in FAILURES.values() if not isinstance(reply, Fetched)}
    assert errors == {FetchFailed, PayloadTooLarge}
