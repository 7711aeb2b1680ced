"""The admin listener: is it alive, is it ready, what does it count, and the admin API (design: ``admin``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from klein import Klein
from twisted.web.resource import IResource

from ngpu.errors import BadRequest
from ngpu.figures import Exposing
from ngpu.gateway import Gateway
from ngpu.http.guard import Guard
from ngpu.http.reply import Reply
from ngpu.http.routes import Route, add_route, answer_http_errors
from ngpu.http.server import NgpuRequest
from ngpu.metrics import CONTENT_TYPE
from ngpu.wire.envelope import parse_object
from ngpu.wire.replies import success

API = "/api/v1"

LARGEST_BODY = 128 * 1024
"""Bytes that a body may have here: settings, and no payload."""

AdminRoute = tuple[str, str, Route]
"""Method, address below `API`, and what answers: it takes the request and the parts of the address by name."""


def admin_resource(
    gateway: Gateway,
    figures: Exposing,
    guard: Guard,
    open_metrics: bool,
    api: Iterable[AdminRoute] = (),
    session: Iterable[AdminRoute] = (),
    pages: Iterable[AdminRoute] = (),
) -> IResource:
    """What the admin listener serves.

    :param guard: lets requests through; ``/healthz`` and ``/readyz`` are open anyway.
    :param open_metrics: whether ``/metrics`` is, too.
    :param api: the routes of the admin API; nothing of a request is read before its credential is right.
    :param session: those of them that are open, since they make the credential.
    :param pages: the dashboard's, by their whole addresses.
    """
    app = Klein()

    async def healthz(request: NgpuRequest) -> Reply:
        return Reply(success("alive"))

    async def readyz(request: NgpuRequest) -> Reply:
        await gateway.ready()
        return Reply(success("ready"))

    async def metrics(request: NgpuRequest) -> Reply:
        if not open_metrics:
            await guard.admit(request)
        return Reply(await figures.exposition(), headers={"Content-Type": CONTENT_TYPE})

    opened = [(method, API + below, answers) for method, below, answers in session]
    guarded = [(method, API + below, guard.guarded(answers)) for method, below, answers in api]
    for address, route in (("/healthz", healthz), ("/readyz", readyz), ("/metrics", metrics)):
        add_route(app, "GET", address, route, lambda request: request)
    for method, address, answers in (*pages, *opened, *guarded):
        add_route(app, method, address, answers, lambda request: request)
    answer_http_errors(app)
    return app.resource()


async def json_body(request: NgpuRequest) -> Mapping[str, Any]:
    """The JSON object that a request brings.

    :raises PayloadTooLarge: it has more than `LARGEST_BODY` bytes.
    :raises BadRequest: it is none; see `ngpu.wire.envelope.parse_object`.
    """
    fields = parse_object(await request.body.read(LARGEST_BODY))
    return {name: field.value for name, field in fields.items()}


def parameter(request: NgpuRequest, name: str) -> str | None:
    """A query parameter; ``None`` when it is not there.

    :raises BadRequest: it stands there twice.
    """
    values = request.args.get(name.encode(), [])
    if len(values) > 1:
        raise BadRequest(f"{name} stands in the query more than once")
    return values[0].decode("utf-8", "replace") if values else None


def whole_number(request: NgpuRequest, name: str, least: int, most: int, default: int) -> int:
    """A query parameter that is a number.

    :raises BadRequest: it is none, or not within its bounds.
    """
    text = parameter(request, name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise BadRequest(f"{name} must be a whole number from {least} to {most}")
    return int(text)


def path_without_ids(request: NgpuRequest) -> str:
    """What the access log shows for the path: an id in it may be a credential.

    The route that serves it; where none does, what stands before an id.
    """
    route = request.notes.get("route")
    if route is not None:
        return str(route)
    parts = request.path.decode("latin-1").split("/")
    return "/".join(parts[:4]) + ("/..." if len(parts) > 4 else "")
