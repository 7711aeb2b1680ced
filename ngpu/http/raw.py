"""Raw calls: ``/proxy/…``, and everything at a workspace's virtual hosts. What the worker says goes out as it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from zope.interface import implementer

from ngpu.allowance import Allowances
from ngpu.errors import BadReply, BadRequest, NgpuError, PayloadTooLarge, Unauthorized, Unavailable
from ngpu.http.access_log import annotate
from ngpu.http.call import Call
from ngpu.http.forwarded import added_fields
from ngpu.http.pace import Pace
from ngpu.http.reply import Reply, client_gone, refusal, send
from ngpu.http.routes import serve
from ngpu.http.server import NgpuRequest
from ngpu.http.traced import begin_span
from ngpu.interfaces import IBodySink
from ngpu.model import ReplyHead, Task
from ngpu.passing import PassedHead, PassedRequest
from ngpu.raw.body import ReadBody, SentBody, TunnelBody
from ngpu.raw.calls import PassedBody, RawCall, RawCalls
from ngpu.raw.websocket import SWITCHED, asked_for, check_accepted
from ngpu.relay import Over, Relay
from ngpu.settings import Workspace, host_key
from ngpu.tenancy import Access, Tenancy
from ngpu.tracing import traced
from ngpu.waiting import Handle
from ngpu.wire.envelope import normal_address
from ngpu.wire.replies import failure

ROOT = b"/proxy"
_ROUTE = ROOT.decode()
STATUS, TASK = "Ngpu-Status", "Ngpu-Task"
"""Fields of every reply here: who made it (``worker`` or ``gateway``), and the id of the call's record."""

_BY_WORKER, _TASK = (STATUS.encode(), b"worker"), TASK.encode()

KEY = b"key"
"""The query parameter that holds a credential, where the workspace says so."""

log = Logger("ngpu.http.raw")


class Raw:
    """Passes requests through.

    :param hosts: workspaces by virtual host, live.
    :param allowances: what a workspace may still send; a raw call counts like a submission.
    """

    def __init__(
        self, calls: RawCalls, hosts: Mapping[str, Workspace], tenancy: Tenancy, allowances: Allowances
    ) -> None:
        self._allowances = allowances
        self._calls = calls
        self._hosts = hosts
        self._tenancy = tenancy

    def takes(self, request: NgpuRequest) -> bool:
        """Whether a request is a raw call."""
        path = request.path
        if path.startswith(ROOT) and path[len(ROOT) : len(ROOT) + 1] in (b"", b"/"):
            return True
        return self._workspace_of_host(request) is not None

    def serve(self, call: Call) -> Deferred[bytes | None]:
        """Answer one; whoever calls this writes what it fires with, and finishes the request."""
        handle = Handle()
        work = handle.work = Deferred.fromCoroutine(self._serve(call, handle))
        return work

    async def _serve(self, call: Call, handle: Handle) -> bytes | None:
        request = call.request
        reply = PassedOn(request)
        try:
            await self._pass(call, reply, handle)
            return None
        except CancelledError:
            if client_gone(request):
                raise
            error: Exception = Unavailable("the gateway is stopping, and this call with it; try again")
        except Exception as raised:
            error = raised
        if not isinstance(error, NgpuError):
            log.failure("a raw call failed", path=request.path)
        if client_gone(request):
            return None
        if reply.begun:
            log.warn("a raw call broke off: {error}", error=str(error))
            request.cut()
            return None
        if isinstance(error, NgpuError):
            told = refusal(error)
        else:
            told = Reply(failure(500, "the gateway failed at this request; its log says why"), 500)
        return await send(request, Reply(told.document, told.status, {**told.headers, **reply.marks()}))

    async def _pass(self, call: Call, reply: PassedOn, handle: Handle) -> None:
        request = call.request
        path, mark, query = request.uri.partition(b"?")
        owner = self._workspace_of_host(request)
        access, left = self._open(call, owner, query)
        workspace = access.workspace
        annotate(request, workspace=workspace.label)
        port = next(iter(workspace.ports))
        prefix = b""
        if owner is None:
            prefix, port, path = _routed(path, workspace)
        target = path + (mark + left if left or not query else b"")
        key = None
        if b"upgrade" in request.head.named:
            key = asked_for(request.method, request.clientproto, request.head.fields, request.body.length != 0)
        limit = workspace.raw.body_limit
        if limit and (request.body.length or 0) > limit:
            raise PayloadTooLarge(f"The body has {request.body.length} bytes, {limit} are allowed: send less.")
        await self._allowances.take(workspace)
        raw = RawCall(
            access,
            PassedRequest(
                request.method.decode("ascii"),
                target.decode("ascii"),
                port,
                _without_key(request.head.fields) if workspace.raw.key_in_query else request.head.fields,
                host=request.getHeader(b"host") or b"",
                added=added_fields(call, prefix),
                upgrade=key is not None,
                expects=request.head.expects,
            ),
            btc_address=normal_address(call.header("BtcAddress") or ""),
            client_ip=call.client_ip,
            request_url=(prefix + target).decode("latin-1"),
            header=call.header,
        )
        if key is None:
            whole = None if request.head.expects else request.body.whole()
            body: PassedBody = (
                ReadBody(whole)
                if whole is not None
                else SentBody(request.body.length, request.body.chunks, limit, request.relay_body)
            )
        else:
            body = tunnel = TunnelBody(lambda: request.body.chunks())
            reply.tunnel(key, tunnel)
        if (tracing := self._calls.tracing) is not None:
            span = begin_span(tracing, request, "websocket" if key is not None else "proxy")
            raw = replace(raw, request=traced(raw.request, span))
        await self._calls.call(raw, body, reply, handle)

    def _open(self, call: Call, owner: Workspace | None, query: bytes) -> tuple[Access, bytes]:
        """Who calls, and the query without what said so."""
        left, keys = _split_key(query)
        shown = call.shown_access()
        if shown is None and keys and (owner is None or owner.raw.key_in_query):
            if len(keys) > 1:
                raise BadRequest("key stands in the query more than once")
            shown = self._tenancy.open(keys[0].removeprefix("ngpu_"))
            if not shown.workspace.raw.key_in_query:
                raise Unauthorized("this workspace takes its credential in the header Authorization only")
        if shown is None:
            if owner is None or not owner.raw.open:
                raise Unauthorized("send a credential: Authorization: Bearer <workspace id or key>")
            shown = Access(owner)
        if owner is not None and shown.workspace.id != owner.id:
            raise Unauthorized("this credential opens no workspace; send Authorization: Bearer <workspace id or key>")
        return shown, left if shown.workspace.raw.key_in_query else query

    def _workspace_of_host(self, request: NgpuRequest) -> Workspace | None:
        host = request.getHeader(b"host") if self._hosts else None
        if not host:
            return None
        name = host.decode("latin-1")
        return self._hosts.get(host_key(name.rpartition(":")[0] if ":" in name else name))


@implementer(IBodySink)
class PassedOn:
    """The reply to a raw call, on its way to the client.

    :ivar begun: its head is out.
    """

    def __init__(self, request: NgpuRequest) -> None:
        self.begun = False
        self._request = request
        self._pace = Pace()
        self._task: Task | None = None
        self._key = b""
        self._tunnel: TunnelBody | None = None

    def tunnel(self, key: bytes, body: TunnelBody) -> None:
        """The request asks for a WebSocket, with that key."""
        self._key, self._tunnel = key, body

    def marks(self) -> dict[str, str]:
        """Our own fields of a reply that the gateway makes."""
        return {STATUS: "gateway", **({} if self._task is None else {TASK: self._task.id})}

    def started(self, task: Task) -> None:
        """See `ngpu.raw.recorded.PassedReply`."""
        self._task = task
        annotate(self._request, task_id=task.id, node=task.placement.node_address)

    def start(self, head: ReplyHead) -> Any:
        """See `IBodySink.start`."""
        request = self._request
        assert self._task is not None
        own = (_BY_WORKER, (_TASK, self._task.id.encode()))
        try:
            if head.status == SWITCHED and self._tunnel is not None:
                check_accepted(head, self._key)
                request.switch(head.headers, own)
                self._tunnel.open()
            else:
                length, whole = (head.length, head.whole) if isinstance(head, PassedHead) else (None, False)
                request.pass_on(head.status, head.headers, length, whole, own)
        except ValueError:
            raise BadReply("the replica's reply has header fields that cannot be passed on") from None
        self.begun = True
        if isinstance(head, PassedHead) and head.whole:
            return None
        request.registerProducer(self._pace, True)
        return self._pace.gate

    def write(self, data: bytes) -> Any:
        """See `IBodySink.write`."""
        self._request.write(data)
        return self._pace.gate

    def relay(self, source: Any, count: int, over: Over) -> Relay | None:
        """See `ngpu.raw.recorded.PassedReply`."""
        return self._request.relay_reply(source, count, over)


class Door(Resource):
    """Lets raw calls in, with the paths that they came with, and shows all others on.

    A raw call never sees Klein, which has one address for all of them, and would decode paths and merge slashes.
    """

    isLeaf = True

    def __init__(self, raw: Raw, make_call: Callable[[NgpuRequest], Call], other: Resource) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._raw = raw
        self._make_call = make_call
        self._other = other

    def render(self, request: NgpuRequest) -> Any:
        """Serve a request."""
        if not self._raw.takes(request):
            return self._other.render(request)
        annotate(request, route=_ROUTE)
        return serve(request, self._raw.serve(self._make_call(request)))


def _routed(path: bytes, workspace: Workspace) -> tuple[bytes, int, bytes]:
    """What of a path below ROOT is ours, which port it names, and what is the worker's."""
    rest = path[len(ROOT) :]
    first, slash, after = rest[1:].partition(b"/")
    if first.isdigit() and len(first) <= 5 and first[:1] != b"0" and int(first) in workspace.ports:
        return ROOT + b"/" + first, int(first), slash + after or b"/"
    return ROOT, next(iter(workspace.ports)), rest or b"/"


def _split_key(query: bytes) -> tuple[bytes, list[str]]:
    """A query without its KEY, and the values that it had."""
    if KEY not in query and b"%" not in query:
        return query, []
    kept, values = [], []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if unquote_to_bytes(name) == KEY:
            values.append(unquote_to_bytes(value.replace(b"+", b" ")).decode("utf-8", "replace"))
        else:
            kept.append(part)
    return b"&".join(kept), [value for value in values if value]


def _without_key(fields: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """The fields, without the key that a page's address has left in Referer."""

    def cleaned(value: bytes) -> bytes:
        url, mark, query = value.partition(b"?")
        left = _split_key(query)[0]
        return url + (mark + left if left else b"")

    return tuple((name, cleaned(value) if name.lower() == b"referer" else value) for name, value in fields)
