"""What engines say when they refuse, word for word as they have said it, and what the operator reads."""

from __future__ import annotations

import pytest

from ngpu.engines.client import version_of
from ngpu.engines.reading import BadAnswer, one_line
from ngpu.engines.sentences import refusal

RECORDED = {
    "rpc error: code = InvalidArgument desc = invalid memory value 1048576: Must be at least 4MiB": "which needs 4MiB",
    'could not select device driver "nvidia" with capabilities: [[gpu]]': "no GPU runtime",
    'failed to create shim task: OCI runtime create failed: exec: "docker-init": executable file not found in $PATH': (
        r"no docker-init: install the package tini there, or say `init: false`"
    ),
    'could not select device driver "" with capabilities: [[gpu]]': "no GPU runtime",
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: error during container init: error running hook #0: error running hook: exit "
    "status 1, stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: device error: 7: unknown "
    "device: unknown": "a GPU that the copy was given is not on the machine",
    "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown": r"GPU runtime fails \(init",
    "driver failed programming external connectivity on endpoint x (afe1): Bind for 0.0.0.0:8080 failed: port is "
    "already allocated": "port 8080 of the machine is taken",
    "Error starting userland proxy: listen tcp4 127.0.0.1:38933: bind: address already in use": "port 38933 of",
    "failed to set up container networking: driver failed programming external connectivity on endpoint x: failed to "
    "bind host port for 0.0.0.0:8081:172.17.0.2:80/tcp: address already in use": "port 8081 of",
    "driver failed programming external connectivity on endpoint x (afe1): all ports are allocated": (
        "no port left to publish"
    ),
    "failed to bind host port 0.0.0.0:8082/tcp: address already in use": "port 8082 of",
    "failed to register layer: Error processing tar file(exit status 1): write /x: no space left on device": "is full",
    "no matching manifest for linux/arm64/v8 in the manifest list entries": r"not made for this machine \(linux/arm64",
    "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to "
    "the resource is denied": "refuses the login, or wants one",
    'Head "https://r/v2/x/manifests/1": unauthorized: incorrect username or password': "refuses the login",
    "toomanyrequests: You have reached your pull rate limit.": "takes no more requests",
    'Get "https://r/v2/": http: server gave HTTP response to HTTPS client': "plain HTTP",
    'Get "https://r/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority': (
        r"does not trust .* \(certificate signed by unknown authority\)"
    ),
    'Get "https://r/v2/": dial tcp: lookup r on 127.0.0.53:53: no such host': "cannot be reached",
    'Get "https://r/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded)': "reached",
    'failed to resolve reference "r/x:1": r/x:1: not found': "there is no image r/x:1",
    'runc create failed: exec: "serve": executable file not found in $PATH: unknown': "serve is not in the image",
    'runc create failed: exec: "/serve": exec format error: unknown': "/serve in the image is nothing that this",
    "OCI runtime create failed: cannot allocate memory: unknown": "no memory left",
    "client version 1.50 is too new. Maximum supported API version is 1.41": "speaks another version",
}


@pytest.mark.parametrize(("said", "told"), RECORDED.items())
def test_what_was_said(said: str, told: str) -> None:
    with pytest.raises(Exception, match=told) as caught:
        raise refusal(said, "r/x:1")
    assert "\n" not in str(caught.value)
    assert "{what}" not in str(caught.value)
    assert "{about}" not in str(caught.value)


def test_what_is_not_known_is_quoted_on_one_line() -> None:
    quoted = str(refusal("odd\n\x1b[31m trouble " + "x" * 5000))
    assert quoted.startswith("the engine refuses: odd [31m trouble xxx")
    assert len(quoted) < 350
    assert str(refusal("")) == "the engine refuses: it does not say why"


def test_braces_in_what_was_said_do_no_harm() -> None:
    assert "{x}" in str(refusal("unable to find user {x}: no matching entries"))
    assert "{0}" in str(refusal("dial tcp", "{0}"))


def test_one_line_is_short() -> None:
    assert one_line("a" * 10, 5) == "aaaa…"


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [("1.41", "1.12", "1.41"), ("1.40", "1.12", "1.40"), ("1.99", "1.24", "1.47"), ("1.99", "1.60", "1.60")],
)
def test_the_version_that_is_spoken(newest: str, oldest: str, spoken: str) -> None:
    assert version_of(newest, oldest) == spoken


@pytest.mark.parametrize("odd", ["", "x", "1.x", "latest"])
def test_a_version_that_is_none(odd: str) -> None:
    with pytest.raises(BadAnswer):
        version_of(odd, "1.12")
