"""How commands reach a running gateway: its admin API, found by its configuration file or named by hand."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
import requests

from ngpu.errors import ConfigError
from ngpu.settings import load

PATIENCE = (3.0, 10.0)
"""Seconds to connect, and to wait for a reply."""

T = TypeVar("T")


class Failed(click.ClickException):
    """What was asked for did not come about."""

    exit_code = 1


class Misused(click.ClickException):
    """The command does not say which gateway, or how to get in."""

    exit_code = ConfigError.exit_status


class Unreachable(click.ClickException):
    """No gateway answered."""

    exit_code = 3


class Refused(click.ClickException):
    """The gateway answered no; the message is its own."""

    exit_code = 4


class AdminApi:
    """Calls to one gateway.

    :param url: of its admin listener.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # a token does not go through a proxy of the environment
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, *path: str, **params: Any) -> dict[str, Any]:
        """What the gateway tells."""
        return self._document(self._call("GET", path, params=params))

    def send(self, method: str, *path: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Have the gateway do something."""
        return self._document(self._call(method, path, json=document))

    def stream(self, *path: str, **params: Any) -> Iterator[bytes]:
        """A reply, as it comes, however long that takes."""
        reply = self._call("GET", path, params=params, stream=True, timeout=(PATIENCE[0], None))
        try:
            yield from reply.iter_content(None)
        except requests.RequestException as error:
            raise Unreachable(f"the gateway at {self._url} broke off: {_cause(error)}") from None
        finally:
            reply.close()

    def _call(self, method: str, path: tuple[str, ...], **options: Any) -> requests.Response:
        address = "/".join([self._url, "api/v1", *(quote(part, safe="") for part in path)])
        try:
            reply = self._session.request(method, address, **{"timeout": PATIENCE, "allow_redirects": False, **options})
        except requests.RequestException as error:
            raise Unreachable(
                f"no gateway answers at {self._url}: {_cause(error)}; is it running, and is this its admin listener? "
                "Name another one with -c or --admin"
            ) from None
        if reply.status_code >= 300:
            raise Refused(_told(reply))
        return reply

    def _document(self, reply: requests.Response) -> dict[str, Any]:
        try:
            document = reply.json()
        except requests.RequestException:
            document = None
        if not isinstance(document, dict) or "result_code" not in document:
            raise Unreachable(f"{self._url} is no admin listener of ngpu: it answered no JSON object of ngpu's")
        return document


def _told(reply: requests.Response) -> str:
    """What a refusal says, with the places of what is wrong where it names them."""
    try:
        document = reply.json()
        lines = [str(document["msg"])]
        lines += [f"  {problem['path']}: {problem['message']}" for problem in document.get("problems", ())]
    except (requests.RequestException, KeyError, TypeError, AttributeError):
        lines = [f"HTTP {reply.status_code}, without a word of ngpu's: is this the admin listener?"]
    return "\n".join(lines)


def _cause(error: requests.RequestException) -> str:
    """The innermost reason, without the library's own wrapping."""
    reason: Any = error
    while (inner := getattr(reason, "reason", None) or (reason.args[0] if reason.args else None)) is not None:
        if not isinstance(inner, Exception):
            break
        reason = inner
    text = str(reason)
    return text.rpartition(": ")[2] if isinstance(reason, Exception) else text


def admin_command(command: Callable[..., T]) -> Callable[..., T | None]:
    """Give a command its `AdminApi` as first argument, and the options that find the gateway."""

    @click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path),
        envvar="NGPU_CONFIG",
        default=Path("/etc/ngpu/ngpu.yaml"),
        show_default=True,
        help="The gateway's configuration file, which says where it listens and where its token is.",
    )
    @click.option("--admin", envvar="NGPU_ADMIN", help="The URL of its admin listener instead, with --token-file.")
    @click.option(
        "--token-file", type=click.Path(path_type=Path), envvar="NGPU_TOKEN_FILE", help="The file with its admin token."
    )
    @functools.wraps(command)
    def run(*args: Any, config: Path, admin: str | None, token_file: Path | None, **options: Any) -> T | None:
        if click.get_current_context().invoked_subcommand is not None:
            return None  # a group, whose subcommand finds the gateway by its own options
        return command(_found(config, admin, token_file), *args, **options)

    return run


def json_option(command: Callable[..., T]) -> Callable[..., T]:
    """The option ``--json``, as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the gateway's reply as JSON.")(command)


def show_json(document: Any) -> None:
    """Print a document for programs."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _found(config: Path, admin: str | None, token_file: Path | None) -> AdminApi:
    if admin is None or token_file is None:
        try:
            settings = load(config).settings
        except ConfigError as error:
            raise Misused(f"{error}\n(or name the gateway with --admin and --token-file)") from None
        admin = admin or _listener(settings.admin.listen)
        token_file = token_file or settings.admin.token_file
    if admin is None:
        raise Misused(f"{config} has no admin listener on tcp: name it with --admin")
    if not admin.startswith(("http://", "https://")):
        raise Misused(f"--admin must be a URL such as http://127.0.0.1:8081, not {admin}")
    try:
        token = token_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Misused(f"the admin token in {token_file} cannot be read: {why}") from None
    if not token.isascii() or not token.isprintable():
        raise Misused(f"{token_file} holds no admin token")
    return AdminApi(admin, token)


def _listener(endpoints: tuple[str, ...]) -> str | None:
    """The URL of the first one that a client can reach by address."""
    for endpoint in endpoints:
        kind, *parts = (part.replace("\\:", ":") for part in re.split(r"(?<!\\):", endpoint))
        named = dict(part.split("=", 1) for part in parts if "=" in part)
        port = next((part for part in parts[:1] if "=" not in part), named.get("port"))
        if kind in ("tcp", "tcp6") and port is not None:
            host = named.get("interface") or "localhost"
            host = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104
            return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return None
