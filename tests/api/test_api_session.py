"""The dashboard's session at the admin listener: who gets one, what it opens, from where, and what ends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from api_rig import NODES, Rig, configuration, eventually, refused, rig_of, right, workspace

from ngpu.http.guard import LOOK_AGAIN
from ngpu.http.session import BY_ADDRESS

API = "/api/v1"


def block(id: str) -> dict[str, Any]:
    """Of a workspace, as the admin API takes it."""
    return {"id": id, "ports": {"8080": 1}, "upstream": [{"node": NODES[0], "ports": {"8080": 1}}]}


class Tab:
    """A browser's tab at the admin listener, as far as HTTP goes: it keeps cookies, and says where its page is from."""

    def __init__(self, rig: Rig, origin: str | None = None) -> None:
        self.rig = rig
        self.origin = rig.gateway.admin if origin is None else origin
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Sec-Fetch-Site": "same-origin", **more.pop("headers", {})}
        if method not in ("GET", "HEAD"):
            headers.setdefault("Origin", self.origin)
        sent = {name: value for name, value in headers.items() if value is not None}
        return self._session.request(method, self.rig.gateway.admin + path, headers=sent, timeout=20, **more)

    def log_in(self, token: str | None = None) -> requests.Response:
        return self.ask("POST", f"{API}/session", json={"token": self.rig.token if token is None else token})

    def nodes(self, **more: Any) -> requests.Response:
        return self.ask("GET", f"{API}/nodes", **more)

    @property
    def cookie(self) -> str:
        return str(self._session.cookies.get("ngpu_admin", ""))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(workspace("one", ports[0]))

    with rig_of(tmp_path_factory.mktemp("session"), 1, make) as made:
        yield made


@pytest.fixture
def tab(rig: Rig) -> Tab:
    tab = Tab(rig)
    right(tab.log_in())
    return tab


def test_logging_in_gives_a_cookie_that_pages_cannot_read(rig: Rig) -> None:
    reply = Tab(rig).log_in()
    assert right(reply)["session"]["ends"] == pytest.approx(time.time() + 12 * 3600, abs=30)
    name, *attributes = reply.headers["Set-Cookie"].split("; ")
    assert name.startswith("ngpu_admin=") and len(name) > 40
    assert set(attributes) == {"Max-Age=43200", "HttpOnly", "SameSite=Strict"}, "without a path it is the API's alone"
    assert rig.token not in reply.text + str(reply.headers)
    assert reply.headers["Cache-Control"] == "no-store"


def test_the_cookie_is_for_tls_only_where_the_page_came_over_tls(rig: Rig) -> None:
    tls = Tab(rig, rig.gateway.admin.replace("http:", "https:"))
    assert tls.log_in().headers["Set-Cookie"].endswith("HttpOnly; SameSite=Strict")
    assert "; Secure;" in tls.log_in().headers["Set-Cookie"]


@pytest.mark.parametrize("body", [{}, {"token": 1}, {"token": "x", "more": 1}, [], "x"])
def test_what_is_no_login(rig: Rig, body: Any) -> None:
    refused(Tab(rig).ask("POST", f"{API}/session", json=body), 400)


def test_a_session_opens_what_the_token_opens(tab: Tab) -> None:
    assert right(tab.nodes())["nodes"]
    assert tab.nodes().headers["Cache-Control"] == "no-store"
    assert tab.ask("POST", f"{API}/workspaces", json=block("two")).status_code == 201
    right(tab.ask("DELETE", f"{API}/workspaces/two"))
    assert right(tab.ask("GET", f"{API}/session"))["session"]["ends"] > time.time()


def test_a_wrong_cookie_opens_nothing_and_a_wrong_token_beside_a_right_cookie_neither(rig: Rig, tab: Tab) -> None:
    for cookie in ("", "x", tab.cookie[:-1], "\xff" * 10):
        refused(Tab(rig).nodes(headers={"Cookie": f"ngpu_admin={cookie}".encode("latin-1")}), 401)
    refused(tab.nodes(headers={"Authorization": "Bearer wrong"}), 401)
    assert right(Tab(rig).ask("GET", f"{API}/session"))["session"] is None


def test_wrong_bearer_tokens_are_limited_and_the_right_one_is_let_in_all_the_same(rig: Rig) -> None:
    def ask(token: str, path: str = f"{API}/nodes") -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(rig.gateway.admin + path, headers=headers, timeout=20)

    assert ask(rig.token).status_code == 200
    told = [ask(f"guess {number}", "/metrics" if number % 2 else f"{API}/nodes") for number in range(30)]
    assert [reply.status_code for reply in told[: BY_ADDRESS.burst // 2]] == [401] * (BY_ADDRESS.burst // 2)
    assert "try again" in refused(told[-1], 429)
    assert 0 < int(told[-1].headers["Retry-After"]) <= BY_ADDRESS.seconds
    for path in (f"{API}/nodes", "/metrics"):
        assert ask(rig.token, path).status_code == 200
    assert Tab(rig).log_in().status_code == 200, "guesses there do not keep anybody from logging in"


def test_a_cookie_that_another_page_of_the_host_puts_before_it_locks_nobody_out(rig: Rig, tab: Tab) -> None:
    right(Tab(rig).nodes(headers={"Cookie": f"ngpu_admin=x; other=y; ngpu_admin={tab.cookie}"}))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.test", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": None},
        {"Origin": "null"},
        {"Origin": None},
        {"Origin": None, "Sec-Fetch-Site": None},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/nodes/0x1/drain"), ("DELETE", "/session"), ("PUT", "/workspaces/one")]
)
def test_a_change_must_come_from_a_page_of_the_admin_listener(
    tab: Tab, method: str, path: str, headers: dict[str, str | None]
) -> None:
    assert "page of the admin listener" in refused(tab.ask(method, API + path, headers=headers, json={}), 403)
    right(tab.nodes())


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_nor_may_pages_of_other_ports_read_with_it(tab: Tab, site: str) -> None:
    refused(tab.nodes(headers={"Sec-Fetch-Site": site}), 403)
    right(tab.nodes(headers={"Sec-Fetch-Site": "none"}))


def test_no_page_from_elsewhere_can_log_somebody_in(rig: Rig) -> None:
    refused(Tab(rig, "http://evil.test").log_in(), 403)
    right(Tab(rig).ask("POST", f"{API}/session", json={"token": rig.token}, headers={"Origin": None}))


def test_logging_out_ends_it_also_where_the_cookie_was_kept(rig: Rig, tab: Tab) -> None:
    kept = tab.cookie
    reply = tab.ask("DELETE", f"{API}/session")
    assert right(reply)["session"] is None and "Max-Age=0" in reply.headers["Set-Cookie"]
    assert tab.cookie == ""
    refused(Tab(rig).nodes(headers={"Cookie": f"ngpu_admin={kept}"}), 401)
    right(tab.ask("DELETE", f"{API}/session"))


def test_a_stream_ends_soon_after_its_session(rig: Rig, tab: Tab) -> None:
    """The stream looks again before what it tells after some seconds: what happens then is told to nobody."""
    headers = {"Cookie": f"ngpu_admin={tab.cookie}"}
    with requests.get(f"{rig.gateway.admin}{API}/live", headers=headers, stream=True, timeout=20) as stream:
        pieces = stream.iter_content(None)
        while b"event: state" not in next(pieces):
            pass
        right(tab.ask("DELETE", f"{API}/session"))
        time.sleep(LOOK_AGAIN)
        with_token = {"Authorization": f"Bearer {rig.token}"}
        url = f"{rig.gateway.admin}{API}/workspaces"
        assert requests.post(url, json=block("told-to-nobody"), headers=with_token, timeout=10).ok
        assert b"told-to-nobody" not in b"".join(pieces)


def test_sessions_outlive_a_restart_and_no_other_token(rig: Rig, tab: Tab) -> None:
    rig.gateway.restart()
    right(tab.nodes())
    file: Path = rig.gateway.config_file.parent / "var/admin.token"
    before = file.read_text()
    file.write_text("another\n")
    try:
        rig.gateway.restart()
        refused(tab.nodes(), 401)
        right(Tab(rig).log_in("another"))
    finally:
        file.write_text(before)
        rig.gateway.restart()


def test_neither_tokens_nor_sessions_stand_in_the_log_or_the_store(rig: Rig, tab: Tab) -> None:
    right(tab.nodes())
    refused(Tab(rig).log_in("a-wrong-token"), 401)
    eventually(lambda: any(line.get("status") == 401 for line in rig.log_lines()), "the log is written")
    log = rig.gateway.log.read_text("utf-8")
    for secret in (rig.token, tab.cookie, "a-wrong-token"):
        assert secret not in log
    store = b"".join(file.read_bytes() for file in rig.gateway.config_file.parent.glob("ngpu.sqlite*"))
    assert tab.cookie.encode() not in store and rig.token.encode() not in store


class TestPages:
    def test_the_page_may_do_next_to_nothing(self, rig: Rig) -> None:
        reply = Tab(rig).ask("GET", "/")
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = reply.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy and "http" not in policy and "data:" not in policy
        assert "frame-ancestors 'none'" in policy
        for name, value in {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"}.items():
            assert reply.headers[name] == value
        assert "style=" not in reply.text and "<script>" not in reply.text and "//" not in reply.text

    def test_what_is_named_by_its_digest_is_kept_and_the_page_is_asked_for(self, rig: Rig) -> None:
        tab = Tab(rig)
        page = tab.ask("GET", "/")
        assert page.headers["Cache-Control"] == "no-cache"
        names = [part.split('"')[0] for part in page.text.split('"assets/')[1:]]
        assert len(names) == 4
        for name in names:
            asset = tab.ask("GET", f"/assets/{name}")
            assert asset.status_code == 200 and asset.content
            assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert "default-src 'none'" in asset.headers["Content-Security-Policy"]
        for path in ("/", f"/assets/{names[0]}"):
            tag = tab.ask("GET", path).headers["ETag"]
            again = tab.ask("GET", path, headers={"If-None-Match": f'"x", {tag}'})
            assert again.status_code == 304 and not again.content and again.headers["ETag"] == tag
            assert tab.ask("HEAD", path).headers["ETag"] == tag

    @pytest.mark.parametrize(
        "name", ["nothing.js", "index.htm", "..%2findex.html", "%00", "__init__.py", "sources.sha256"]
    )
    def test_there_is_nothing_else(self, rig: Rig, name: str) -> None:
        assert Tab(rig).ask("GET", f"/assets/{name}").status_code in (400, 404)
