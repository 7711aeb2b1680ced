"""The public listener: which address is which call, with both spellings of the document's malformed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from klein import Klein
from twisted.web.http import parse_qs
from twisted.web.resource import IResource, Resource

from ngpu.http.call import Call
from ngpu.http.cloud import CloudCalls, add_cloud_routes
from ngpu.http.queueing import Queueing
from ngpu.http.raw import Door, Raw
from ngpu.http.reading import Reading
from ngpu.http.routes import Route, Routed, add_route, answer_http_errors, refuse_other_methods
from ngpu.http.server import NgpuRequest
from ngpu.http.streaming import Streaming
from ngpu.http.submitting import Submitting

MakeCall = Callable[[NgpuRequest], Call]


def partner_routes(
    reading: Reading, submitting: Submitting, queueing: Queueing, streaming: Streaming
) -> tuple[tuple[str, str, Route], ...]:
    """Method, address and route of every call of the partner contract."""
    return (
        ("POST", "/user/schedulingTask", submitting.scheduling_task),
        ("POST", "/user/cancelTask", queueing.cancel_task),
        ("POST", "/user/retryTask", queueing.retry_task),
        ("POST", "/user/purgeQueue", queueing.purge_queue),
        ("GET", "/user/queryTask", reading.query_task),
        ("GET", "/user/queryTask/stream", streaming.query_task_stream),
        ("GET", "/user/getDetailed", reading.get_detailed),
        ("GET", "/user/getTask", reading.get_task),
        ("GET", "/user/getTasks", reading.get_tasks),
        ("GET", "/user/queryTaskList", reading.query_task_list),
        ("GET", "/user/queryNodes", reading.query_nodes),
        ("GET", "/user/getTasksFromNode", reading.get_tasks_from_node),
        ("GET", "/brc20/checkAddress", reading.check_address),
        ("GET", "/user/brc20/checkAddress", reading.check_address),
        ("GET", "/media/<name>", reading.media),
        ("POST", "/user/<name>", submitting.submit_to_app),
        ("GET", "/user/<name>", submitting.query_app),
    )


def partner_resource(
    routes: Iterable[tuple[str, str, Route]],
    make_call: MakeCall,
    cloud: CloudCalls | None = None,
    raw: Raw | None = None,
    pages: Iterable[tuple[str, str, Route]] = (),
) -> IResource:
    """What the public listener serves.

    :param routes: see `partner_routes`.
    :param cloud: the calls of the published command-line client, where there are accounts for it.
    :param raw: what passes calls through.
    :param pages: routes that take requests as they are; they stand beside the contract's, and none has its address.
    """
    app = Klein()
    for method, address, route in routes:
        add_route(app, method, address, route, make_call)
        if "<" not in address:
            refuse_other_methods(app, method, address)
    add_cloud_routes(app, cloud, make_call)
    for method, address, route in pages:
        add_route(app, method, address, route, lambda request: request)
    answer_http_errors(app)
    resource = Routed(app, _Respelled(app.resource()))
    return resource if raw is None else Door(raw, make_call, resource)


class _Respelled(Resource):
    """Puts the ``?`` where the document's addresses write ``&`` (wire contract §1), and serves the rest of it."""

    isLeaf = True

    def __init__(self, inner: IResource) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inner = inner

    def render(self, request: NgpuRequest) -> Any:
        """Serve a request."""
        path, mark, query = request.path.partition(b"&")
        if mark:
            request.path = path
            request.postpath = path[1:].split(b"/")
            for name, values in parse_qs(query, True).items():
                request.args[name] = [*request.args.get(name, ()), *values]
        return self._inner.render(request)
