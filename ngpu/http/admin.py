"""The admin listener: is it alive, is it ready, what does it count (design: ``admin``)."""

from __future__ import annotations

import hmac

from klein import Klein
from twisted.web.resource import IResource

from ngpu.errors import Unauthorized
from ngpu.gateway import Gateway
from ngpu.http.reply import Reply
from ngpu.http.routes import add_route, answer_http_errors
from ngpu.http.server import NgpuRequest
from ngpu.metrics import CONTENT_TYPE
from ngpu.tenancy import credential_of
from ngpu.wire.replies import success


def admin_resource(gateway: Gateway, token: str, open_metrics: bool) -> IResource:
    """What the admin listener serves.

    :param token: opens everything; ``/healthz`` and ``/readyz`` are open anyway.
    :param open_metrics: whether ``/metrics`` is, too.
    """
    app = Klein()

    async def healthz(request: NgpuRequest) -> Reply:
        return Reply(success("alive"))

    async def readyz(request: NgpuRequest) -> Reply:
        await gateway.ready()
        return Reply(success("ready"))

    async def metrics(request: NgpuRequest) -> Reply:
        if not open_metrics:
            _authorize(request, token)
        return Reply(await gateway.figures(), headers={"Content-Type": CONTENT_TYPE})

    for address, route in (("/healthz", healthz), ("/readyz", readyz), ("/metrics", metrics)):
        add_route(app, "GET", address, route, lambda request: request)
    answer_http_errors(app)
    return app.resource()


def _authorize(request: NgpuRequest, token: str) -> None:
    shown = request.requestHeaders.getRawHeaders(b"authorization", [b""])
    if len(shown) != 1 or not hmac.compare_digest(credential_of(shown[0].decode("latin-1")).encode(), token.encode()):
        raise Unauthorized("send the admin token: Authorization: Bearer <content of admin.token_file>")
