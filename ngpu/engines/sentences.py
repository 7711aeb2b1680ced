"""What went wrong with an engine, as a sentence that tells the operator what to do. Pure.

The patterns are of the texts of Docker 20.10 to 29, whose words changed little; what is not among them is quoted.
"""

from __future__ import annotations

import re
from typing import Any

import docker.errors
import requests.exceptions
from urllib3.exceptions import HTTPError

from ngpu.engines.client import OLDEST, TooOld
from ngpu.engines.reading import BadAnswer, one_line
from ngpu.errors import EngineError, EngineRefused, EngineUnreachable

_KNOWN: tuple[tuple[str, str], ...] = (
    (
        r"could not select device driver|unknown or invalid runtime name: nvidia|unknown device driver",
        "the machine has no GPU runtime that the engine knows: install the NVIDIA driver and nvidia-container-toolkit "
        "there, run `nvidia-ctk runtime configure --runtime=docker`, and restart Docker",
    ),
    (
        r"nvidia-container-cli: .*(?:unknown device|device error)",
        "a GPU that the copy was given is not on the machine: look at `nodes[].gpus`, and at `nvidia-smi -L` there",
    ),
    (
        r"nvidia-container-cli: (?P<what>.+)",
        "the machine's GPU runtime fails ({what}): see whether `nvidia-smi` works there",
    ),
    (
        r"Bind for \S*?:(?P<what>\d+) failed: port is already allocated"
        r"|listen (?:tcp|udp)\S* \S*?:(?P<what2>\d+): bind: address already in use"
        r"|failed to bind (?:host )?port (?:for )?\S*?:(?P<what3>\d+)",
        "port {what} of the machine is taken: free it, or leave the port out of `publish` so that any free one is used",
    ),
    (
        r"all ports are allocated",
        "the machine has no port left to publish: see what listens there (`ss -ltn`), and widen "
        "net.ipv4.ip_local_port_range there, then restart Docker",
    ),
    (
        r"docker-init[^:]*: .*not found|docker-init: no such file",
        "the machine's Docker has no docker-init: install the package tini there, or say `init: false` in the node's "
        "`engine_options`",
    ),
    (
        r'exec: "(?P<what>[^"]*)": .*(?:no such file|not found|not a directory)',
        "the command cannot be started: {what} is not in the image; look at the workspace's `command`",
    ),
    (
        r'exec: "(?P<what>[^"]*)": .*(?:permission denied|is a directory)'
        r'|exec: "?(?P<what2>[^":]*)"?: exec format error',
        "the command cannot be started: {what} in the image is nothing that this machine can execute; look at the "
        "workspace's `command`, and at the image's platform",
    ),
    (
        r"No command specified|no command specified",
        "the image says no command of its own: set the workspace's `command`",
    ),
    (
        r"unable to find (?:user|group) (?P<what>[^:]+)",
        "the image has no user {what}: look at the workspace's `container.user`",
    ),
    (
        r"bind source path does not exist: (?P<what>\S+)",
        "the machine has no folder {what} to mount: make it there, or take it out of `container.mounts`",
    ),
    (
        r"Minimum memory limit allowed is (?P<what>\S+)|invalid memory value \d+: Must be at least (?P<what2>\S+)",
        "the memory limit is too small for any container, which needs {what}: look at `container.memory`",
    ),
    (
        r"no space left on device|disk quota exceeded|not enough space",
        "the machine's disk is full: free some there (`docker system df` shows what images take)",
    ),
    (
        r"cannot allocate memory|out of memory",
        "the machine has no memory left for another container: free some, or place the copy elsewhere",
    ),
    (
        r"no matching manifest for (?P<what>.+?)(?: in the manifest list|$)",
        "the image is not made for this machine ({what}): push one that is",
    ),
    (
        r"no basic auth credentials|unauthorized|authentication required|denied: requested access|incorrect username"
        r"|access to the resource is denied|pull access denied|403 Forbidden|401 Unauthorized",
        "the registry of {about} refuses the login, or wants one: look at `registries` (it may also be that there is "
        "no such repository)",
    ),
    (
        r"manifest unknown|manifest for .* not found|name unknown|repository does not exist|not found: does not exist"
        r"|repository .* not found|failed to resolve reference .*: not found",
        "there is no image {about}: look at its name and tag, and whether it was pushed",
    ),
    (
        r"toomanyrequests|429 Too Many Requests",
        "the registry of {about} takes no more requests for a while: log in (`registries`), or use a mirror",
    ),
    (
        r"server gave HTTP response to HTTPS client",
        "the registry of {about} speaks plain HTTP: list it in `insecure-registries` of the machine's "
        "/etc/docker/daemon.json, or give it a certificate",
    ),
    (
        r"x509: (?P<what>.+)",
        "the machine does not trust the certificate of the registry of {about} ({what}): put its authority into "
        "/etc/docker/certs.d/<registry>/ca.crt there",
    ),
    (
        r"dial tcp|connection refused|i/o timeout|no such host|TLS handshake timeout|network is unreachable"
        r"|Client\.Timeout|context deadline exceeded|connection reset by peer|unexpected status from HEAD request",
        "the registry of {about} cannot be reached from the machine, or fails: see whether it runs, and whether the "
        "machine's network lets it through",
    ),
    (r"invalid reference format", "{about} is no name of an image: look at the workspace's `image`"),
    (r"No such image", "the image {about} is not on this machine: pull or load it first"),
    (r"No such container", "there is no container {about}"),
    (
        r"client version \S+ is too (?:old|new)",
        "the engine speaks another version of Docker's API than a moment ago; it is asked again",
    ),
)

_COMPILED = tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), sentence) for pattern, sentence in _KNOWN)


def refusal(message: object, about: str = "") -> EngineRefused:
    """An engine's refusal, in our words where they are known.

    :param about: the image or container that the call was about.
    """
    said = one_line(message, 2000)
    for pattern, sentence in _COMPILED:
        if found := pattern.search(said):
            groups = found.groupdict().values()
            what = next((group for group in groups if group), "")
            return EngineRefused(_filled(sentence, one_line(what, 120), about or "the image"))
    return EngineRefused(f"the engine refuses: {one_line(said) or 'it does not say why'}")


def _filled(sentence: str, what: str, about: str) -> str:
    parts = {"{what}": what, "{about}": about}
    return re.sub(r"\{what\}|\{about\}", lambda found: parts[found[0]], sentence)


def told(error: Exception, where: str, about: str = "", said: str = "") -> EngineError | None:
    """What an exception of the SDK, or of reading an answer, means; ``None`` for one that is no engine's doing.

    :param where: the engine.
    :param said: what ssh has said.
    """
    if isinstance(error, EngineError):
        return error
    if isinstance(error, TooOld):
        return EngineRefused(
            f"the engine at {where} speaks version {one_line(error, 20)} of Docker's API, and {OLDEST} is needed: "
            "update Docker there to 19.03 or newer"
        )
    if isinstance(error, docker.errors.APIError):
        return refusal(error.explanation or f"status {error.status_code}", about)
    if isinstance(error, BadAnswer):
        return EngineUnreachable(f"what answers at {where} is no Docker engine, or a broken one ({error})")
    if isinstance(error, requests.exceptions.Timeout):
        return EngineUnreachable(f"the engine at {where} gave no answer in time")
    if isinstance(error, requests.exceptions.JSONDecodeError | docker.errors.DockerException):
        return EngineUnreachable(f"what answers at {where} is no Docker engine, or a broken one ({_name(error)})")
    if isinstance(error, requests.exceptions.RequestException | HTTPError | OSError):
        why = f": {said}" if said else _cause(error)
        return EngineUnreachable(f"no connection to the engine at {where}{why}")
    if isinstance(error, ValueError | TypeError | KeyError | AttributeError | IndexError | RecursionError):
        return EngineUnreachable(f"what answers at {where} is no Docker engine, or a broken one ({_name(error)})")
    return None


def _name(error: BaseException) -> str:
    return type(error).__name__


def _cause(error: BaseException) -> str:
    """The innermost reason, which the SDK's exceptions wrap two or three times."""
    reason: Any = error
    for _ in range(8):
        inner = next((arg for arg in getattr(reason, "args", ()) if isinstance(arg, BaseException)), None)
        inner = inner or getattr(reason, "reason", None)
        if not isinstance(inner, BaseException):
            break
        reason = inner
    if isinstance(reason, OSError):
        text = getattr(reason, "verify_message", None) or reason.strerror or _name(reason)
        return f": {one_line(text, 120)}"
    return f": {_name(reason)}"
