"""The leak fixture itself: what it must see, and what it must leave alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = '''
import pytest
import pytest_twisted
from twisted.internet import defer, protocol, reactor, task, threads
from twisted.logger import Logger
from twisted.python import log


class Sleeper(protocol.Protocol):
    def connectionMade(self):
        pass


@pytest_twisted.ensureDeferred
async def test_call_leaks():
    reactor.callLater(1000, print)


def test_sync_call_leaks():
    reactor.callLater(1000, print)


@pytest_twisted.ensureDeferred
async def test_port_leaks():
    reactor.listenTCP(0, protocol.Factory(), interface="127.0.0.1")


@pytest_twisted.ensureDeferred
async def test_deferred_leaks():
    defer.fail(ZeroDivisionError("nobody looks"))


@pytest_twisted.ensureDeferred
async def test_log_leaks():
    try:
        1 / 0
    except ZeroDivisionError:
        Logger().failure("went wrong")


def test_old_log_leaks():
    log.err(ZeroDivisionError("nobody looks"), "went wrong")


@pytest_twisted.ensureDeferred
async def test_fails_and_leaks():
    reactor.listenTCP(0, protocol.Factory(), interface="127.0.0.1")
    task.LoopingCall(lambda: None).start(0.01)
    assert False


@pytest_twisted.ensureDeferred
async def test_clean_closing_takes_turns():
    """A server that is stopped while its connections still close, and a thread of the pool."""
    factory = protocol.Factory.forProtocol(Sleeper)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    client = await defer.ensureDeferred(connect(port.getHost().port))
    assert await threads.deferToThread(lambda: 3) == 3
    client.transport.loseConnection()
    port.stopListening()


async def connect(port):
    return await protocol.ClientCreator(reactor, Sleeper).connectTCP("127.0.0.1", port)


@pytest_twisted.ensureDeferred
async def test_clean_expected(no_leaks):
    no_leaks.expect(ZeroDivisionError)
    defer.fail(ZeroDivisionError("on purpose"))


@pytest.fixture
def ticking():
    call = reactor.callLater(1000, print)
    yield
    call.cancel()


def test_clean_after_fixtures(ticking):
    pass
'''


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("samples")
    (folder / "test_samples.py").write_text(SAMPLES)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "leaks", "-p", "no:cacheprovider", "-rA"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, env=env, timeout=120)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ("test_call_leaks", "a delayed call: <DelayedCall"),
        ("test_sync_call_leaks", "a delayed call: <DelayedCall"),
        ("test_port_leaks", "still open: <<class 'twisted.internet.tcp.Port'>"),
        ("test_deferred_leaks", "a logged failure: unhandled in a Deferred: ZeroDivisionError: nobody looks"),
        ("test_log_leaks", "a logged failure: went wrong: ZeroDivisionError: division by zero"),
        ("test_old_log_leaks", "ZeroDivisionError: nobody looks"),
    ],
)
def test_a_leak_is_an_error_that_names_it(outcome: str, sample: str, said: str) -> None:
    assert re.search(rf"^ERROR .*::{sample}", outcome, re.MULTILINE), outcome
    section = outcome.split(f"ERROR at teardown of {sample} _")[1].split("\n____")[0]
    assert "the test left behind" in section
    assert said in section


def test_a_test_that_failed_anyway_is_not_blamed_twice_and_those_after_it_not_at_all(outcome: str) -> None:
    assert re.search(r"^FAILED .*::test_fails_and_leaks", outcome, re.MULTILINE)
    assert not re.search(r"^ERROR .*::test_fails_and_leaks", outcome, re.MULTILINE)


@pytest.mark.parametrize(
    "sample", ["test_clean_closing_takes_turns", "test_clean_expected", "test_clean_after_fixtures"]
)
def test_what_cleans_up_passes(outcome: str, sample: str) -> None:
    assert re.search(rf"^PASSED .*::{sample}", outcome, re.MULTILINE), outcome
    assert not re.search(rf"^ERROR .*::{sample}", outcome, re.MULTILINE), outcome
