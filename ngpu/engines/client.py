"""The docker SDK's client, over connections of our own, for engines that may be slow, silent, or no engines at all."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import docker
import requests
import urllib3.connection
import urllib3.connectionpool
from docker.errors import DockerException
from docker.utils import version_lt
from requests.adapters import HTTPAdapter

from ngpu.containers import RegistryLogin
from ngpu.engines.dialling import Opened, Way
from ngpu.engines.reading import BadAnswer, mapping, messages, text
from ngpu.errors import EngineRefused

OLDEST, NEWEST = "1.40", "1.47"
"""Versions of the API: from Docker 19.03, which knows device requests, to what this was written against."""

LONGEST_ANSWER = 16 << 20
PIECE = 64 * 1024


class TooOld(DockerException):  # type: ignore[misc]
    """The engine speaks no version of the API that has what we need."""


class _Connection(urllib3.connection.HTTPConnection):
    def __init__(self, way: Way, opened: Opened, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._way, self._opened = way, opened
        self._remembered: tuple[Any, Any] | None = None

    def connect(self) -> None:
        dialled = self._way.dial(float(self.timeout))  # type: ignore[arg-type]
        self._remembered = (self._opened.add(dialled), dialled.process)
        self.sock = dialled.stream

    def close(self) -> None:
        super().close()
        if self._remembered is not None:
            remembered, self._remembered = self._remembered, None
            self._opened.forget(*remembered)


class _Connections(urllib3.connectionpool.HTTPConnectionPool):
    """Keeps one connection: a client does one thing at a time."""

    def __init__(self, way: Way, opened: Opened) -> None:
        super().__init__("localhost", maxsize=1)
        self._way, self._opened = way, opened

    def _new_conn(self) -> Any:
        return _Connection(self._way, self._opened, 60.0)


class _Adapter(HTTPAdapter):
    """What requests asks for a connection, whatever the URL says."""

    def __init__(self, way: Way, opened: Opened) -> None:
        self._connections = _Connections(way, opened)
        super().__init__()

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self._connections

    def get_connection(self, *_: Any, **__: Any) -> Any:
        return self._connections

    def request_url(self, request: Any, proxies: Any) -> str:
        return str(request.path_url)

    def close(self) -> None:
        super().close()
        self._connections.close()


class Client(docker.APIClient):  # type: ignore[misc]
    """One thread's client. Its answers are bounded in size and time; it follows nothing and reads no environment.

    :param way: to the engine.
    :raises EngineRefused: the SDK cannot make one.
    """

    def __init__(self, way: Way) -> None:
        try:
            super().__init__(base_url="unix:///engine", version=OLDEST)  # opens nothing
        except Exception as error:  # the SDK reads a file of which nothing is used here
            raise EngineRefused(
                "the config.json of Docker's own client, of the user that the gateway runs as, cannot be read "
                f"({type(error).__name__}): repair it, or let DOCKER_CONFIG name an empty folder"
            ) from None
        self.opened = Opened()
        self.trust_env = False
        self._general_configs: dict[str, Any] = {}  # of the ~/.docker of whoever runs the gateway
        self.until = 0.0
        self._negotiated = False
        self.headers["Accept-Encoding"] = "identity"
        self.mount("http+docker://", _Adapter(way, self.opened))

    def allow(self, seconds: float, silence: float | None = None) -> None:
        """Set the time for what follows.

        :param silence: the longest wait for the next byte in seconds; ``seconds`` by default.
        """
        self.until = time.monotonic() + seconds
        self.timeout = seconds if silence is None else silence

    def negotiate(self) -> None:
        """Agree on a version, once; to be called before anything else.

        :raises TooOld: there is none.
        """
        if not self._negotiated:
            said = mapping(self.version(api_version=False))
            self._version = version_of(text(said, "ApiVersion"), text(said, "MinAPIVersion", OLDEST))
            self._negotiated = True

    def forget(self) -> None:
        """It may be another engine, or another version of it, that answers next time."""
        self._negotiated = False

    def get_redirect_target(self, resp: Any) -> None:
        """No engine sends anybody elsewhere."""

    def send(self, request: Any, **settings: Any) -> requests.Response:
        """Send a request; unless it is to be streamed, read the answer, which may be of some length only."""
        streamed = settings.pop("stream", False)
        response: requests.Response = super().send(request, stream=True, **settings)
        if not streamed:
            response._content = b"".join(self._bounded(response))
            response._content_consumed = True  # type: ignore[attr-defined]
        return response

    def _bounded(self, response: requests.Response) -> Iterator[bytes]:
        size = 0
        for piece in self.pieces(response):
            size += len(piece)
            if size > LONGEST_ANSWER:
                response.close()
                raise BadAnswer(f"an answer of more than {LONGEST_ANSWER} bytes")
            if time.monotonic() > self.until:
                response.close()
                raise requests.exceptions.ReadTimeout("the answer trickles")
            yield piece

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """The bytes of an answer as they come; nothing is unpacked."""
        try:
            yield from response.raw.stream(PIECE, decode_content=False)
        finally:
            response.close()  # which keeps a connection for the next call, if all of the answer was read

    def _checked(self, response: requests.Response) -> requests.Response:
        if response.status_code >= 300:
            response._content = b"".join(self._bounded(response))
            self._raise_for_status(response)
            raise BadAnswer(f"status {response.status_code}")
        return response

    # ---- calls that the SDK has not, or without a bound

    def pulling(self, name: str, tag: str, login: RegistryLogin | None) -> Iterator[Mapping[str, Any]]:
        """Have an image brought: what the engine says meanwhile."""
        headers = {"X-Registry-Auth": docker.auth.encode_header(credentials(login))}
        url = self._url("/images/create")
        response = self._post(url, params={"fromImage": name, "tag": tag}, headers=headers, stream=True)
        return messages(self.pieces(self._checked(response)))

    def loading(self, archive: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
        """Hand an image over: what the engine says, once all of it was handed over."""
        response = self._post(self._url("/images/load"), data=archive, params={"quiet": "0"}, stream=True)
        return messages(self.pieces(self._checked(response)))

    def printing(self, container: str, tail: int, follow: bool) -> requests.Response:
        """A container's output, framed."""
        asked = {"stdout": 1, "stderr": 1, "follow": int(follow), "tail": tail}
        return self._checked(self._get(self._url("/containers/{0}/logs", container), params=asked, stream=True))

    def printing_of_task(self, task: str, tail: int, follow: bool) -> requests.Response:
        """The output of a Swarm's task, framed, wherever it runs."""
        asked = {"stdout": 1, "stderr": 1, "follow": int(follow), "tail": tail}
        return self._checked(self._get(self._url("/tasks/{0}/logs", task), params=asked, stream=True))

    def make_service(self, body: Mapping[str, Any], login: RegistryLogin | None) -> None:
        """Make a service, whose machines pull its image with a login."""
        headers = {"X-Registry-Auth": docker.auth.encode_header(credentials(login))} if login else {}
        self._raise_for_status(self._post_json(self._url("/services/create"), data=body, headers=headers))

    def change_service(self, service: str, version: int, spec: Mapping[str, Any]) -> None:
        """Give a service another ``Spec``; its login stays."""
        asked = {"version": version, "registryAuthFrom": "spec"}
        self._raise_for_status(self._post_json(self._url("/services/{0}/update", service), data=spec, params=asked))


def credentials(login: RegistryLogin | None) -> dict[str, str]:
    """What an engine shows the registry; nothing by default, whatever the gateway's user has in a ~/.docker."""
    return {} if login is None else {"username": login.username, "password": login.password}


def version_of(newest: str, oldest: str) -> str:
    """The version of the API to speak with an engine that knows those from ``oldest`` to ``newest``.

    :raises TooOld: it knows none that has what we need.
    """
    try:
        if version_lt(newest, OLDEST):
            raise TooOld(newest)
        chosen = NEWEST if version_lt(NEWEST, newest) else newest
        return oldest if version_lt(chosen, oldest) else chosen
    except ValueError:
        raise BadAnswer("a version of the API that is none") from None
