"""The pages for customers as they are served: with which headers, how often, when not, and in nobody's way."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import yaml
from processes import ROOT, Gateway, running

from ngpu.http.files import File
from ngpu.http.pages import DOCUMENTS, PAGES, STATIC

NODE = {"address": "0xA1", "host": "127.0.0.1"}
ADDRESSES = [*PAGES, "/docs/pages.css", *(f"/{name}.{kind}" for name in DOCUMENTS for kind in ("yaml", "json"))]
OURS = [path for path in sorted(STATIC.iterdir()) if path.suffix in (".html", ".js", ".css")]


def configuration(port: int) -> dict[str, object]:
    upstream = [{"node": "0xA1", "ports": {"8080": port}}]
    hosted = {"id": "w", "ports": {"8080": 80}, "upstream": upstream, "hosts": ["worker.test"]}
    return {"nodes": [NODE], "workspaces": [hosted]}


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Gateway]]:
    """One with pages, and one that was told to have none."""
    with running(tmp_path_factory.mktemp("pages")) as processes:
        config = configuration(processes.start_worker().port)
        yield processes.start_gateway(config), processes.start_gateway({**config, "api_pages": False})


@pytest.fixture(scope="module")
def gateway(gateways: tuple[Gateway, Gateway]) -> Gateway:
    return gateways[0]


def get(gateway: Gateway, path: str, method: str = "GET", **headers: str) -> requests.Response:
    headers = {"Accept-Encoding": "identity", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return requests.request(method, gateway.url + path, headers=headers, timeout=30)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_browser_asks_again_and_gets_it_once(gateway: Gateway, address: str) -> None:
    reply = get(gateway, address)
    assert reply.status_code == 200 and reply.headers["Cache-Control"] == "no-cache"
    assert reply.headers["X-Content-Type-Options"] == "nosniff" and "Content-Encoding" not in reply.headers
    again = get(gateway, address, If_None_Match=f'"other", {reply.headers["ETag"]}')
    assert again.status_code == 304 and not again.content and again.headers["ETag"] == reply.headers["ETag"]
    assert get(gateway, address, "HEAD").headers["Content-Length"] == str(len(reply.content))
    refused = get(gateway, address, "POST")
    assert refused.status_code == 405 and set(refused.headers["Allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("asked", ["gzip", "br, GZIP;q=0.5", "gzip;q=0", "br", "identity"])
def test_large_files_are_packed_for_those_who_take_that(gateway: Gateway, asked: str) -> None:
    for address in ("/docs/redoc.standalone.js", "/openapi.json", "/docs/playground"):
        reply = get(gateway, address, Accept_Encoding=asked)
        packed = reply.headers.get("Content-Encoding") == "gzip"
        assert packed == (asked in ("gzip", "br, GZIP;q=0.5")) and reply.headers["Vary"] == "Accept-Encoding"
        assert int(reply.headers["Content-Length"]) < len(reply.content) if packed else True
        assert reply.content == get(gateway, address).content
    assert "Content-Encoding" not in get(gateway, "/docs/photo.png", Accept_Encoding=asked).headers


def test_what_is_kept_packed_is_unpacked_once() -> None:
    """Each of a hundred requests of a client that reads none of their replies would hold a megabyte of its own."""
    request: Any = SimpleNamespace(head=SimpleNamespace(named={}))
    file = File.read(STATIC / "redoc.standalone.js.gz")
    first, second = (file.reply(request).document for _ in range(2))
    assert first is second and first == gzip.decompress((STATIC / "redoc.standalone.js.gz").read_bytes())


def test_pages_may_load_nothing_from_elsewhere_and_run_nothing_inline(gateway: Gateway) -> None:
    for address in PAGES:
        policy = get(gateway, address).headers["Content-Security-Policy"]
        rules = {name: set(rest) for name, *rest in (rule.split() for rule in policy.split(";"))}
        assert rules["default-src"] == {"'none'"} and rules["script-src"] == rules["connect-src"] == {"'self'"}
        assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == {"'none'"}
        loose = {each for name in rules for each in rules[name]} - {"'none'", "'self'", "data:"}
        assert loose == ({"blob:"} if address == "/docs/playground" else {"'unsafe-inline'", "blob:"})
        assert rules["style-src"] == ({"'self'"} if address == "/docs/playground" else {"'self'", "'unsafe-inline'"})


def test_our_files_have_nothing_inline_and_name_no_other_host() -> None:
    for path in OURS:
        text = path.read_text("utf-8")
        assert not re.findall(r"https?://(?!127\.0\.0\.1:8080)[a-z]", text), path
        if path.suffix == ".html":
            assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=", text), path
        assert "localStorage" not in text and "sessionStorage" not in text and "document.cookie" not in text
    redoc = gzip.decompress((STATIC / "redoc.standalone.js.gz").read_bytes())
    assert b"cdn.redoc.ly" not in redoc and b"MIT License" in (STATIC / "redoc.LICENSE.txt").read_bytes()


def test_both_languages_have_the_same_words_and_the_page_only_those() -> None:
    text = (STATIC / "words.js").read_text("utf-8")
    name = re.compile(r"(?:^ +|, )(\w+): (?=[\"'(])", re.MULTILINE)
    english, chinese = (set(name.findall(part)) for part in text.split("  zh: {", 1))
    assert english == chinese and len(english) > 50
    page = (STATIC / "playground.html").read_text("utf-8")
    assert set(re.findall(r'data-word="(\w+)"', page)) <= english
    script = (STATIC / "playground.js").read_text("utf-8")
    assert set(re.findall(r'word\("(\w+)"', script)) <= english


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_are_those_of_the_docs(gateway: Gateway, name: str) -> None:
    text = (ROOT / f"docs/{name}.yaml").read_text("utf-8")
    assert get(gateway, f"/{name}.yaml").content == text.encode()
    served = json.loads(get(gateway, f"/{name}.json").content)
    for item in served["paths"].values():
        for told in item.values():
            if isinstance(told, dict):
                told.pop("x-codeSamples", None)
    assert served == json.loads(json.dumps(yaml.safe_load(text)))


def test_nothing_else_of_the_folder_is_served(gateway: Gateway) -> None:
    for path in ("/docs/", "/docs/reference.html", "/docs/redoc.standalone.js.gz", "/docs/nobody", "/docs/static/x"):
        assert get(gateway, path).status_code == 404, path
    assert get(gateway, "/docs/..%2f__init__.py").status_code == 400


def test_an_operator_can_have_none_of_them(gateways: tuple[Gateway, Gateway]) -> None:
    for address in ADDRESSES:
        reply = get(gateways[1], address)
        assert reply.status_code == 404 and reply.json()["msg"] == "there is no such call and no such app"


@pytest.mark.parametrize("address", ADDRESSES)
def test_at_a_workspaces_host_they_are_the_workers(gateway: Gateway, address: str) -> None:
    reply = get(gateway, address, Host="worker.test", Authorization="Bearer w")
    assert reply.headers["Ngpu-Status"] == "worker" and reply.json() == {"detail": "Not Found"}
