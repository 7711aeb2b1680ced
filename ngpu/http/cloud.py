"""The calls of the published command-line client (wire contract §7), on the public listener.

Its replies have everything under ``result``. It takes HTTP 200 alone for success and prints any other reply, so a
refusal is a proper status with ``{"result_code", "msg", "result": null}``, and what it asks for by id and does not get
is a 404: it takes the first of a list without a look at its length.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred

from ngpu.cloud.accounts import Accounts
from ngpu.cloud.asked import LONGEST_BODY, listed_id, read_group, read_image, read_login, read_workspace
from ngpu.cloud.counter import Counter
from ngpu.errors import MethodNotAllowed, NgpuError, NotFound, Unauthorized
from ngpu.http.call import Call
from ngpu.http.reply import Reply, refusal
from ngpu.http.routes import Route, add_route
from ngpu.http.server import NgpuRequest
from ngpu.waiting import shielded
from ngpu.wire.replies import failure, success

ROOT = "/ngpu/api/v1"
NOTHING = ROOT + "/<path:rest>"
"""All addresses there that are no call's."""

Work = Callable[[str, Call, bytes, str], Coroutine[Any, Any, Any]]
"""The account's key, the call, its body and the id in its path → ``result``."""


class CloudCalls:
    """The routes; each takes a `Call` and gives a `Reply`."""

    def __init__(self, accounts: Accounts, counter: Counter) -> None:
        self._accounts = accounts
        self._counter = counter

    async def login(self, call: Call) -> Reply:
        """A token for an email address and the md5 of a password."""

        async def work() -> dict[str, str]:
            asked = read_login(await call.request.body.read(LONGEST_BODY))
            return {"token": await self._accounts.login(asked.email, asked.password, call.client_ip)}

        return await _told(work())

    def routes(self) -> tuple[tuple[str, str, Route], ...]:
        """Method, address and route of each call."""
        return (
            ("POST", ROOT + "/user/login", self.login),
            ("POST", ROOT + "/cloud/image/create", self._logged_in(self._create_image)),
            ("GET", ROOT + "/cloud/image/list", self._logged_in(self._images)),
            ("GET", ROOT + "/cloud/product/list", self._logged_in(self._products)),
            ("POST", ROOT + "/cloud/workspace/create", self._logged_in(self._create_workspace)),
            ("GET", ROOT + "/cloud/workspace/list", self._logged_in(self._workspaces)),
            ("GET", ROOT + "/cloud/workspace/delete/<name>", self._logged_in(self._delete_workspace)),
            ("POST", ROOT + "/cloud/workspace/group/create", self._logged_in(self._create_group)),
            ("GET", ROOT + "/cloud/workspace/group/list", self._logged_in(self._groups)),
            ("GET", ROOT + "/cloud/workspace/group/selector", self._logged_in(self._groups)),
        )

    def _logged_in(self, work: Work) -> Route:
        async def run(call: Call, name: str = "") -> Reply:
            async def with_account() -> Any:
                token = call.header("Token")
                if not token:
                    raise Unauthorized(f"log in at {ROOT}/user/login, and send its token in the header Token")
                account = self._accounts.open_token(token)
                body = await call.request.body.read(LONGEST_BODY)
                # what is begun for a client is ended, whether it still waits for the reply or not
                return await shielded(Deferred.fromCoroutine(work(account.key, call, body, name)))

            return await _told(with_account())

        return run

    async def _create_image(self, account: str, call: Call, body: bytes, name: str) -> Any:
        return await self._counter.create_image(account, read_image(body))

    async def _images(self, account: str, call: Call, body: bytes, name: str) -> Any:
        return self._counter.images(account)

    async def _products(self, account: str, call: Call, body: bytes, name: str) -> Any:
        return self._counter.products()

    async def _create_workspace(self, account: str, call: Call, body: bytes, name: str) -> Any:
        return await self._counter.create_workspace(account, read_workspace(body))

    async def _workspaces(self, account: str, call: Call, body: bytes, name: str) -> Any:
        return self._counter.workspaces(account, listed_id(call.param("id"), body))

    async def _delete_workspace(self, account: str, call: Call, body: bytes, name: str) -> Any:
        if call.request.method == b"HEAD":  # it comes with every GET route, and must not act (RFC 9110 §9.3.2)
            return self._counter.workspaces(account, name)
        return await self._counter.delete_workspace(account, name)

    async def _create_group(self, account: str, call: Call, body: bytes, name: str) -> Any:
        return await self._counter.create_group(account, read_group(body))

    async def _groups(self, account: str, call: Call, body: bytes, name: str) -> Any:
        return self._counter.groups(account)


def add_cloud_routes(app: Klein, calls: CloudCalls | None, make_call: Callable[[NgpuRequest], Call]) -> None:
    """Serve the calls, or, where there are no accounts, say that there are none such."""

    for method, address, route in calls.routes() if calls is not None else ():
        add_route(app, method, address, route, make_call)
        add_route(app, None, address, _refuses_all_but(method), make_call)

    async def nothing(call: Call, rest: str) -> Reply:
        return await _told(_raise(NotFound("there is no such call")))

    add_route(app, None, NOTHING, nothing, make_call)


def path_without_ids(request: NgpuRequest) -> str:
    """What the public listener's access log shows for the path: of these calls the route, as an id may stand in one."""
    route = str(request.notes.get("route", ""))
    return route if route.startswith(ROOT) else request.path.decode("latin-1")


def _refuses_all_but(method: str) -> Route:
    allowed = ("GET", "HEAD") if method == "GET" else (method,)

    async def refuse(call: Call, name: str = "") -> Reply:
        return await _told(_raise(MethodNotAllowed(f"use {' or '.join(allowed)} here", allowed)))

    return refuse


async def _told(work: Awaitable[Any]) -> Reply:
    """The reply of a call: its result, or what was wrong, in this client's shape."""
    try:
        return Reply({**success(), "result": await work})
    except NgpuError as error:
        reply = refusal(error)
        headers = dict(reply.headers)
        if isinstance(error, Unauthorized):
            headers["WWW-Authenticate"] = 'Token realm="ngpu"'
        return Reply({**failure(reply.status, str(error)), "result": None}, reply.status, headers)


async def _raise(error: NgpuError) -> None:
    raise error
