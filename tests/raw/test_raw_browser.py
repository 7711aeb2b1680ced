"""A browser, through the gateway: EventSource and WebSocket with the key in the query, as a page uses them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser import Visitor, chromium
from playwright.sync_api import Browser
from processes import Gateway
from raw_rig import ID, OTHER
from toy_worker import ToyWorker

EVENTS = """
    (key) => new Promise((done) => {
        const got = [];
        const source = new EventSource(`/proxy/9090/events?key=${key}`);
        source.addEventListener('step', (event) => {
            got.push([event.lastEventId, event.data]);
            if (got.length === 5) {
                source.close();
                done(got);
            } else {
                fetch(`/proxy/9090/received?key=${key}`, {method: 'POST'});
            }
        });
    })
"""
"""The page tells the worker of each event, over the gateway, and comes back for more when three have come."""

REFUSED = """
    (key) => new Promise((done) => {
        const source = new EventSource(`/proxy/9090/events?key=${key}`);
        source.onerror = () => done(source.readyState);
    })
"""
SOCKET = """
    (key) => new Promise((done) => {
        const got = [];
        const socket = new WebSocket(`ws://${location.host}/proxy/8080/ws?key=${key}`, ['chat']);
        const big = new Uint8Array(1 << 22).fill(7);
        const asked = ['hello', 'ü'.repeat(70000), big, 'close'];
        socket.binaryType = 'arraybuffer';
        socket.onopen = () => { got.push(socket.protocol); socket.send(asked.shift()); };
        socket.onmessage = (event) => {
            const whole = typeof event.data === 'string';
            got.push(whole ? event.data.length : new Uint8Array(event.data).filter((each) => each === 7).length);
            socket.send(asked.shift());
        };
        socket.onclose = (event) => done([...got, event.code, event.reason]);
    })
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def visitor(browser: Browser, gateway: Gateway) -> Iterator[Visitor]:
    """Somebody who looks at a page of the worker's."""
    one = Visitor(browser)
    one.page.goto(f"{gateway.url}/proxy/page?key={OTHER}")
    assert one.page.title() == "toy"
    yield one
    one.leave()


def asked(visitor: Visitor, script: str, key: str) -> Any:
    return visitor.page.evaluate(script, key)


def test_an_event_source_gets_each_event_when_it_is_sent_and_comes_back(visitor: Visitor, worker: ToyWorker) -> None:
    assert asked(visitor, EVENTS, OTHER) == [[str(number), str(number)] for number in range(5)]


def test_a_websocket_carries_text_bytes_and_why_it_was_closed(visitor: Visitor, worker: ToyWorker) -> None:
    assert asked(visitor, SOCKET, OTHER) == ["chat", 5, 70000, 1 << 22, 4000, "as you wish"]
    assert worker.left.wait(10)


def test_where_the_key_may_not_stand_in_the_query(visitor: Visitor) -> None:
    closed = 2
    assert asked(visitor, REFUSED, ID) == closed, "it does not come back"
    assert asked(visitor, SOCKET, ID) == [1006, ""], "it was not opened"
    visitor.forgive("401")
    visitor.forgive("Authentication failed")
