"""News between gateways on one Redis: who hears what, and that a gap is always told."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_twisted
import redis_server
from redis_gateways import SharedStore
from redis_server import KEPT, Start
from redis_store import eventually, made, pause
from twisted.internet.defer import ensureDeferred
from zope.interface.verify import verifyObject

from ngpu.errors import ConfigError
from ngpu.sharing import CANCEL, INews

RIGHTS = ("+@read", "+@write", "+@scripting", "+@connection", "+info")


class Hearer:
    """Keeps what it is told."""

    def __init__(self, store: SharedStore, topic: str) -> None:
        self.heard: list[str | None] = []
        self.end = store.news.hear(topic, self.heard.append)

    async def hears(self, *words: str | None) -> None:
        await eventually(lambda: len(self.heard) >= len(words), f"{words}, but {self.heard}")
        assert self.heard == list(words)
        self.heard.clear()


@pytest_twisted.async_yield_fixture
async def pair() -> AsyncIterator[tuple[SharedStore, SharedStore]]:
    prefix, url = secrets.token_hex(4), redis_server.shared().url
    a, b = [await SharedStore(url, prefix).open() for _ in "ab"]
    yield a, b
    await a.close()
    await b.close()


def channels(prefix: str) -> set[str]:
    return set(redis_server.shared().ask("PUBSUB", "CHANNELS", f"{prefix}:*").split("\r\n")[2::2])


@pytest_twisted.ensureDeferred
async def test_others_hear_what_is_said_and_nobody_hears_himself(pair: tuple[SharedStore, SharedStore]) -> None:
    a, b = pair
    assert verifyObject(INews, a.news)
    of_a, of_b, other = Hearer(a, "t"), Hearer(b, "t"), Hearer(b, "u")
    for each in (of_a, of_b, other):
        await each.hears(None)
    a.news.say("t", "one  two \u4f60")
    a.news.say("t", "")
    await of_b.hears("one  two \u4f60", "")
    b.news.say("t", "back")
    await of_a.hears("back")
    assert (of_b.heard, other.heard) == ([], [])


@pytest_twisted.ensureDeferred
async def test_what_a_script_says_is_heard_by_all_and_a_cancel_by_its_gateway(
    pair: tuple[SharedStore, SharedStore],
) -> None:
    a = pair[0]
    hearers = [Hearer(each, topic) for each in pair for topic in ("t", CANCEL)]
    for each in hearers:
        await each.hears(None)
    redis_server.shared().ask("PUBLISH", f"{a.prefix}:say:t", " words of it")
    redis_server.shared().ask("PUBLISH", f"{a.prefix}:say:cancel:{a.member.me}", " 0123")
    await hearers[0].hears("words of it")
    await hearers[1].hears("0123")
    await hearers[2].hears("words of it")
    assert hearers[3].heard == []


@pytest_twisted.ensureDeferred
async def test_a_channel_is_left_with_its_last_listener(pair: tuple[SharedStore, SharedStore]) -> None:
    a, b = pair
    channel = f"{a.prefix}:say:task:1"
    first, second = Hearer(a, "task:1"), Hearer(a, "task:1")
    await first.hears(None)
    await second.hears(None)
    third = Hearer(a, "task:1")
    assert third.heard == [None], "at once, since it is heard already"
    first.end()
    first.end()
    b.news.say("task:1", "x")
    await second.hears("x")
    assert first.heard == []
    second.end()
    assert channel in channels(a.prefix)
    third.end()
    await eventually(lambda: channel not in channels(a.prefix), "it is left")
    again = [Hearer(a, "task:1") for _ in range(3)]
    for each in again[:2]:
        each.end()
    again[2].end()
    last = Hearer(a, "task:1")
    await last.hears(None)
    b.news.say("task:1", "y")
    await last.hears("y")
    assert [each.heard for each in again] == [[], [], []]


@pytest_twisted.ensureDeferred
async def test_a_listener_that_fails_or_ends_another_harms_nobody(
    pair: tuple[SharedStore, SharedStore], no_leaks: object
) -> None:
    no_leaks.expect(ZeroDivisionError)  # type: ignore[attr-defined]
    a, b = pair
    ended: list[object] = []

    def bad(words: str | None) -> None:
        late.end()
        ended.append(words)
        raise ZeroDivisionError

    a.news.hear("t", lambda words: bad(words) if words else None)
    late, good = Hearer(a, "t"), Hearer(a, "t")
    await good.hears(None)
    b.news.say("t", "x")
    await good.hears("x")
    assert late.heard == [None] and ended == ["x"]


@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_killed_is_told_as_a_gap(start: Start) -> None:
    server = start()
    a, b = [await SharedStore(server.url, "p", timeout=1.0).open() for _ in "ab"]
    hearer = Hearer(a, "t")
    await hearer.hears(None)
    server.ask("CLIENT", "KILL", "TYPE", "pubsub")
    await hearer.hears(None)
    b.news.say("t", "x")
    await hearer.hears("x")
    server.kill9()
    late = Hearer(a, "late")
    for number in range(5000):
        b.news.say("t", f"lost {number}")
    await pause(0.1)
    assert (hearer.heard, late.heard) == ([], [])
    server.start()
    await hearer.hears(None)
    await late.hears(None)
    await eventually(lambda: b.links[0].wire, "it can speak again")
    b.news.say("late", "y")
    await late.hears("y")
    await a.close()
    await b.close()


@pytest_twisted.ensureDeferred
async def test_a_redis_that_hangs_is_noticed_and_what_was_said_does_not_pile_up(start: Start) -> None:
    server = start()
    a = await SharedStore(server.url, "p", timeout=1.0).open()
    hearer = Hearer(a, "t")
    await hearer.hears(None)
    server.signal(signal.SIGSTOP)
    began = time.monotonic()
    for number in range(5000):
        a.news.say("t", f"lost {number}")
    await eventually(lambda: a.news.link.wire is None, "the connection that hangs is given up")
    print(f"\na connection that hangs was noticed after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 10
    server.signal(signal.SIGCONT)
    await hearer.hears(None)
    await a.close()


@pytest.mark.parametrize(
    "rights", [["&ngpu:*"], ["resetchannels", "&other:*", "+publish", "+subscribe", "+unsubscribe"]]
)
@pytest_twisted.ensureDeferred
async def test_a_user_that_may_not_speak_is_told_what_it_needs(start: Start, rights: list[str]) -> None:
    server = start(*KEPT)
    server.ask("ACL", "SETUSER", "gateway", "on", ">secret", "~ngpu:*", *RIGHTS, *rights)
    with pytest.raises(ConfigError) as refused:
        await made(f"redis://gateway:secret@127.0.0.1:{server.port}").open()
    assert "refuses PUBLISH" in str(refused.value)
    assert "give its user &ngpu:* +publish +subscribe +unsubscribe" in str(refused.value)


@pytest_twisted.ensureDeferred
async def test_so_is_one_that_may_not_listen(start: Start) -> None:
    server = start(*KEPT)
    server.ask("ACL", "SETUSER", "gateway", "on", ">secret", "~p:*", *RIGHTS, "&p:*", "+publish")
    store = SharedStore(f"redis://gateway:secret@127.0.0.1:{server.port}", "p")
    opening = ensureDeferred(store.open()).addErrback(lambda failure: failure.trap(AssertionError))
    await eventually(lambda: store.news.link.failure, "it is refused")
    assert "refuses SUBSCRIBE" in str(store.news.link.failure)
    server.ask("ACL", "SETUSER", "gateway", "+subscribe", "+unsubscribe")
    await eventually(lambda: store.news.link.wire, "it listens as soon as it may")
    await opening
    await store.close()
