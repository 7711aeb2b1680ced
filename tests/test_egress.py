"""Where customers' URLs may lead: by their host, and by every address that it resolves to."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
import pytest_twisted

from ngpu.egress import Egress
from ngpu.errors import BadRequest

NAMES = {
    "public.example": ["93.184.216.34", "2606:2800:220:1::1"],
    "inside.example": ["10.1.2.3"],
    "both.example": ["93.184.216.34", "127.0.0.1"],
    "none.example": [],
    "2130706433": ["127.0.0.1"],
    "0x7f.1": ["127.0.0.1"],
    "scoped.example": ["fe80::1%eth0"],
}


async def resolve(host: str) -> list[str]:
    if host not in NAMES:
        raise OSError("unknown")
    return NAMES[host]


def egress(*allow: str) -> Egress:
    return Egress([ip_network(network) for network in allow], resolve)


OPEN = [
    "http://93.184.216.34/x.png",
    "https://93.184.216.34:8443/a b"[:-2],
    "HTTPS://public.example/图片.png?x=1#y",
    "http://[2606:2800:220:1::1]:80/",
    "http://public.example",
    "http://[64:ff9b::5db8:d822]/",
]
CLOSED = [
    *("http://127.0.0.1/", "http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.1.1/", "http://169.254.169.254/"),
    *("http://0.0.0.0/", "http://100.64.0.1/", "http://224.0.0.1/", "http://255.255.255.255/", "http://[::]/"),
    *("http://[::1]/", "http://[fe80::1]/", "http://[fd00::1]/", "http://[ff02::1]/", "http://[::ffff:127.0.0.1]/"),
    *("http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::1]/", "http://[2001:0:7f00:1::1]/"),
    *("http://[::127.0.0.1]/", "http://[::ffff:0:127.0.0.1]/", "http://[64:ff9b:1::7f00:1]/", "http://[fec0::1]/"),
    *("http://inside.example/", "http://both.example/", "http://none.example/", "http://nowhere.example/"),
    *("http://2130706433/", "http://0x7f.1/", "http://scoped.example/"),
    *("http://192.0.0.192/", "http://192.0.0.8/", "http://192.88.99.1/", "http://[3fff::1]/", "http://[5f00::1]/"),
]
MALFORMED = [
    *("", "x", "ftp://93.184.216.34/", "file:///etc/passwd", "gopher://93.184.216.34/", "//93.184.216.34/", "http://"),
    *("http://a@93.184.216.34/", "http://93.184.216.34\\@10.0.0.1/", "http://93.184.216.34 /", "http://[::1"),
    *("http://93.184.216.34:99999/", "http://93.184.216.34/\r\nX: y", "http://[fe80::1%25eth0]/", "http://ｅ.example/"),
    *("javascript:alert(1)", "http://93.184.216.34/" + "x" * 9000, None, 7, ["http://93.184.216.34/"]),
]


@pytest.mark.parametrize("url", OPEN)
@pytest_twisted.ensureDeferred
async def test_the_public_internet_is_open(url: str) -> None:
    await egress().check(url, "image_url")


@pytest.mark.parametrize("url", CLOSED)
@pytest_twisted.ensureDeferred
async def test_everything_else_is_not(url: str) -> None:
    with pytest.raises(BadRequest, match=r"image_url.*(egress.allow|cannot be found)"):
        await egress().check(url, "image_url")


@pytest.mark.parametrize("url", MALFORMED, ids=lambda url: repr(url)[:40])
@pytest_twisted.ensureDeferred
async def test_what_is_no_such_url_is_refused(url: Any) -> None:
    with pytest.raises(BadRequest, match=r"^image_url must be"):
        await egress("0.0.0.0/0", "::/0").check(url, "image_url")


@pytest_twisted.ensureDeferred
async def test_what_is_allowed_is_open_and_nothing_beside_it() -> None:
    allowed = egress("10.1.0.0/16", "fd00::/8")
    for url in ("http://10.1.2.3/", "http://inside.example/", "http://[::ffff:10.1.2.3]/", "http://[fd00::1]/"):
        await allowed.check(url, "image_url")
    for url in ("http://10.2.0.1/", "http://127.0.0.1/", "http://both.example/", "http://[fc00::1]/"):
        with pytest.raises(BadRequest):
            await allowed.check(url, "image_url")
