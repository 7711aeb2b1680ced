"""How a route gets its address on a Klein application, and how the router's own errors are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from klein import Klein
from twisted.python.failure import Failure
from werkzeug import exceptions

from ngpu.errors import MethodNotAllowed, NgpuError, NotFound
from ngpu.http.access_log import annotate
from ngpu.http.reply import Reply, answer, refusal, send
from ngpu.http.server import NgpuRequest

Route = Callable[..., Awaitable[Reply]]


def add_route(app: Klein, method: str | None, address: str, route: Route, view: Callable[[NgpuRequest], Any]) -> None:
    """Serve a route at an address, which is also its name in the log and in metrics.

    :param method: ``None`` for all methods that no other route of the address serves.
    :param view: makes what the route takes of a request.
    """

    async def endpoint(request: NgpuRequest, **parts: str) -> bytes | None:
        annotate(request, route=address)

        async def run() -> Reply:
            return await route(view(request), **parts)

        return await answer(request, run())

    app.route(address, methods=None if method is None else [method], endpoint=f"{method} {address}")(endpoint)


def refuse_other_methods(app: Klein, method: str, address: str) -> None:
    """Answer 405 to all methods but this, where the pattern of another route would take the address otherwise."""
    allowed = ("GET", "HEAD") if method == "GET" else (method,)

    async def refuse(request: NgpuRequest) -> Reply:
        raise _wrong_method(allowed)

    add_route(app, None, address, refuse, lambda request: request)


def answer_http_errors(app: Klein) -> None:
    """Let what the router raises become replies like any other."""

    def tell(request: NgpuRequest, failure: Failure) -> Any:
        error = failure.value
        if isinstance(error, exceptions.MethodNotAllowed):
            told: NgpuError = _wrong_method(tuple(sorted(error.valid_methods or ())))
        else:
            told = NotFound("there is no such call and no such app")
        return send(request, refusal(told))

    app.handle_errors(exceptions.HTTPException)(tell)  # type: ignore[arg-type]


def _wrong_method(allowed: tuple[str, ...]) -> MethodNotAllowed:
    return MethodNotAllowed(f"use {' or '.join(allowed)} here", allowed)
