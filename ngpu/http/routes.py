"""How a route gets its address on a Klein application, and how the router's own errors are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug import exceptions

from ngpu.errors import MethodNotAllowed, NgpuError, NotFound
from ngpu.http.access_log import annotate
from ngpu.http.call import Call
from ngpu.http.reply import Reply, answer, client_gone, refusal, send
from ngpu.http.server import NgpuRequest

Route = Callable[..., Awaitable[Reply]]


def add_route(app: Klein, method: str | None, address: str, route: Route, view: Callable[[NgpuRequest], Any]) -> None:
    """Serve a route at an address, which is also its name in the log and in metrics.

    :param method: ``None`` for all methods that no other route of the address serves.
    :param view: makes what the route takes of a request.
    """

    def endpoint(request: NgpuRequest, **parts: str) -> Deferred[bytes | None]:
        annotate(request, route=address)
        seen = view(request)
        work = Deferred.fromCoroutine(answer(request, route(seen, **parts)))
        if isinstance(seen, Call):
            seen.work.work = work
        return work

    app.route(address, methods=None if method is None else [method], endpoint=f"{method} {address}")(endpoint)


def serve(request: NgpuRequest, work: Deferred[bytes | None]) -> Any:
    """Finish a request with what serving it gives, or cancel that once its client goes; for ``IResource.render``."""
    if not work.called:
        request.when_gone(work.cancel)
    work.addCallbacks(_finish, _failed, callbackArgs=(request,), errbackArgs=(request,))
    return NOT_DONE_YET


def _finish(body: bytes | None, request: NgpuRequest) -> None:
    if body:
        request.write(body)
    request.finish()


def _failed(failure: Failure, request: NgpuRequest) -> None:
    if not (failure.check(CancelledError) and client_gone(request)):
        request.processingFailed(failure)


class Routed(Resource):
    """A Klein application's resource, which goes straight to those of its routes that have no variable parts.

    What Klein does before it calls a route costs as much as half of a small call, and says for these what the address
    alone says.

    :param other: serves what goes to none of them.
    """

    isLeaf = True

    def __init__(self, app: Klein, other: IResource) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._other = other
        endpoints: Mapping[str, Any] = app.endpoints
        self._plain = {
            (method.encode(), rule.rule.encode()): endpoints[rule.endpoint].__wrapped__
            for rule in app.url_map.iter_rules()
            if "<" not in rule.rule
            for method in rule.methods or ()
        }

    def render(self, request: NgpuRequest) -> Any:
        """Serve a request."""
        endpoint = self._plain.get((request.method, request.path))
        if endpoint is None:
            return self._other.render(request)
        return serve(request, endpoint(request))


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
