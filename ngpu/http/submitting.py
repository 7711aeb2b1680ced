"""The partner contract's calls that submit work (wire contract §3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from twisted.internet.defer import CancelledError

from ngpu.adapter import IAppAdapter
from ngpu.allowance import Allowances, unlimited
from ngpu.backlog import Backlog
from ngpu.errors import BadRequest, MethodNotAllowed, NotFound, Unauthorized
from ngpu.gateway import Gateway
from ngpu.http.access_log import annotate
from ngpu.http.budget import NOTHING, SMALL, BodyBudget
from ngpu.http.call import Call
from ngpu.http.reading import Reading
from ngpu.http.reply import Reply, limit_fields
from ngpu.http.taking import Taking
from ngpu.http.traced import begin_span
from ngpu.http.wishing import Wishing, digest_of
from ngpu.limits import Allowance
from ngpu.model import Body, Task, TaskStatus, UpstreamRequest
from ngpu.settings import App, AppRoute, QueryAlias, Workspace
from ngpu.submission import Submission, Wishes
from ngpu.tasks.records import Ended
from ngpu.tenancy import Access
from ngpu.tracing import trace_fields
from ngpu.wire.replies import failure, outcome_of, task_ids, task_reply, worker_refusal
from ngpu.wire.target import worker_target

_RAW_FIELDS = (b"content-type", b"content-encoding", b"content-language")
"""What of a raw request's fields describes its body, and so goes with it to the worker."""

_AS_JSON: tuple[tuple[bytes, bytes], ...] = ((b"Content-Type", b"application/json"),)

ASK_AGAIN = 5
"""Seconds until it makes sense to ask again for a task that was waited for in vain."""


class _Job(NamedTuple):
    """What a call asks for: the name of the call or app, where on the worker, and the app that converses for it.

    ``flat``: the body is the request itself, with ``btc_address`` among its members.
    """

    method: str
    target: str
    port: int
    app: str = ""
    flat: bool = False


class Submitting:
    """The routes; each takes a `Call` and gives a `Reply`.

    :param adapters: of the apps that call workers.
    :param budget: the memory that bodies may take.
    :param wishing: reads what is asked for beside the work.
    :param taking: takes the bodies in.
    """

    def __init__(
        self,
        gateway: Gateway,
        reading: Reading,
        workspaces: Mapping[str, Workspace],
        apps: Mapping[str, App],
        adapters: Mapping[str, IAppAdapter],
        taking: Taking,
        budget: BodyBudget,
        backlog: Backlog,
        allowances: Allowances,
        wishing: Wishing,
    ) -> None:
        self._backlog = backlog
        self._allowances = allowances
        self._wishing = wishing
        self._gateway = gateway
        self._reading = reading
        self._workspaces = workspaces
        self._apps = apps
        self._adapters = adapters
        self._taking = taking
        self._budget = budget

    async def scheduling_task(self, call: Call) -> Reply:
        """Any path and port of the caller's workspace, as a task or in one go."""
        access = call.access()
        workspace = access.workspace
        url = call.param("paramUrl")
        path = workspace.path if url is None else url
        bare = path.removeprefix("/")
        name = workspace.apps.get(bare) or workspace.apps.get("/" + bare, "")
        app = self._apps.get(name)
        if isinstance(app, AppRoute):
            path = app.path or path
        port = _port(call.param("paramPort"), workspace, app)
        job = _Job("schedulingTask", worker_target(path), port, self._converses(name))
        return await self._run(call, access, job, call.param("taskMode"))

    async def submit_to_app(self, call: Call, name: str) -> Reply:
        """An app: workspace, path, port and mode come from its configuration."""
        app = self._app(name)
        if isinstance(app, QueryAlias):
            raise MethodNotAllowed(f"{name} answers GET with ?taskID=…", ("GET", "HEAD"))
        access = call.shown_access() or self._open_app(app)
        port = _port(None, access.workspace, app)
        target = worker_target(app.path or access.workspace.path)
        adapter = self._adapters[name]
        mode = call.param("taskMode") or ("sync" if (app.mode or adapter.mode) == "sync" else None)
        return await self._run(call, access, _Job(name, target, port, self._converses(name), adapter.flat), mode)

    async def query_app(self, call: Call, name: str) -> Reply:
        """The same as queryTask, under an app's name; or what the app's adapter makes of it."""
        self._app(name)
        adapter = self._adapters.get(name)
        return await (self._reading.query_task(call) if adapter is None else self._reading.query_app(call, adapter))

    def _app(self, name: str) -> App:
        app = self._apps.get(name)
        if app is None:
            raise NotFound("there is no such call and no such app")
        return app

    def _converses(self, name: str) -> str:
        """The app's name, if its adapter converses with workers; else ""."""
        adapter = self._adapters.get(name)
        return "" if adapter is None or adapter.direct else name

    def _open_app(self, app: AppRoute) -> Access:
        """An app's workspace, for callers without a credential: only where no keys guard it (wire contract §2)."""
        workspace = self._workspaces[app.workspace]
        if workspace.keys:
            raise Unauthorized("this app needs a key of its workspace: Authorization: Bearer <key>")
        return Access(workspace)

    async def _run(self, call: Call, access: Access, job: _Job, mode: str | None) -> Reply:
        workspace = access.workspace
        annotate(call.request, workspace=workspace.label)
        sync = _is_sync(mode)
        standing: Sequence[Allowance] = ()
        if not unlimited(workspace):
            standing = await self._allowances.take(workspace, known=call.header("Idempotency-Key") is not None)
        wishes = await self._wishing.read(call, workspace)  # may look a host up, and so comes after the rate
        limit, length = workspace.body_limit, call.request.body.length
        # what is too large is refused before it is read
        need = limit if length is None else length if length <= limit else 0
        share = await self._budget.share(need) if need > SMALL else NOTHING
        try:
            submission = await self._read(call, access, job, wishes)
            if wishes.key:
                submission = replace(submission, digest=await digest_of(submission))
            share.shrink(submission.body.length)
            reply = await self._submit(call, submission, sync)
        except CancelledError as error:
            if share.cost:
                self._taking.forget(error)
            raise
        finally:
            share.release()
        return replace(reply, headers={**reply.headers, **limit_fields(standing)}) if standing else reply

    async def _submit(self, call: Call, submission: Submission, sync: bool | None) -> Reply:
        workspace = submission.access.workspace
        if sync and not submission.wishes.key:
            over = await self._gateway.call(submission, call.work)
            annotate(call.request, task_id=over.task.id, node=over.task.placement.node_address)
            return _sync_reply(over)
        preferred = call.preferred_wait() if sync is None else None
        task = await self._backlog.submit(submission)
        annotate(call.request, task_id=task.id)
        if sync:  # its client may come back with the same key, so the task must outlive this connection
            task = await self._backlog.follow(task)
            return _replayed(task, self._gateway.result_of(task)) if task.status.ended else _unfinished(task)
        wait = min(workspace.inline_wait if preferred is None else preferred, workspace.timeout)
        if sync is None and wait > 0 and not task.status.ended:
            task = await self._backlog.wait(task, wait)
        headers = {} if preferred is None else {"Preference-Applied": f"wait={wait:g}"}
        return Reply(self._submitted(task), headers=headers)

    def _submitted(self, task: Task) -> Mapping[str, object]:
        return task_reply(task, self._gateway.result_of(task))

    async def _read(self, call: Call, access: Access, job: _Job, wishes: Wishes) -> Submission:
        """The body, as an envelope or raw; it is read only now that all else is right."""
        request = call.request
        raw_address = call.header("BtcAddress")
        limit = access.workspace.body_limit
        taken = self._taking.at_once(request.body, limit, raw_address, job.flat)
        if taken is None:
            taken = await self._taking.take(request.body, limit, raw_address, job.flat)
        trace = trace_fields(request.head.named)
        if (tracing := self._gateway.tracing) is not None:
            trace = begin_span(tracing, request, job.method)
        fields = _AS_JSON
        if raw_address is not None:
            sent = [(name, request.head.named.get(name, ())) for name in _RAW_FIELDS]
            kept = tuple((name.title(), values[0]) for name, values in sent if values)
            fields = kept if kept and kept[0][0] == b"Content-Type" else fields + kept
        return Submission(
            access=access,
            method=job.method,
            request=UpstreamRequest("POST", job.target, job.port, (*fields, *trace)),
            body=taken.body,
            form=taken.form,
            text=taken.text,
            btc_address=taken.btc_address,
            client_ip=call.client_ip,
            request_url=request.uri.decode("latin-1"),
            app=job.app,
            header=call.header,
            wishes=wishes,
        )


def _sync_reply(over: Ended) -> Reply:
    """The reply to a client that waited: the worker's status where it is an error, ours where there was no answer."""
    task = over.task
    if task.status is TaskStatus.FINISHED:
        return Reply(task_reply(task, over.result))
    outcome = outcome_of(task)
    assert outcome is not None
    if over.result is not None and outcome.code == outcome.worker_status:
        return Reply(worker_refusal(task, over.result), outcome.code)
    return Reply(
        {**failure(outcome.code, outcome.reason), **task_ids(task.id), "status": str(task.status)}, outcome.code
    )


def _replayed(task: Task, result: Body | None) -> Reply:
    """The same for a task that is found again by its key: never a 503 of ours, which would be sent again for ever."""
    outcome = task.outcome
    if outcome is not None and outcome.code == 503 and not outcome.worker_status:
        task = replace(task, outcome=replace(outcome, code=502))
    return _sync_reply(Ended(task, result))


def _unfinished(task: Task) -> Reply:
    """The reply to a client that waited for a task that goes on without it."""
    msg = (
        f"the task is {task.status}, and goes on; ask queryTask for it, or send the same request with the same "
        "Idempotency-Key again"
    )
    return Reply(
        {**failure(503, msg), **task_ids(task.id), "status": str(task.status)}, 503, {"Retry-After": str(ASK_AGAIN)}
    )


def _is_sync(mode: str | None) -> bool | None:
    """What ``taskMode`` asks for; ``None`` leaves it to the workspace."""
    if mode is None:
        return None
    chosen = mode.lower()
    if chosen not in ("sync", "async"):
        raise BadRequest("taskMode must be Sync or Async")
    return chosen == "sync"


def _port(text: str | None, workspace: Workspace, app: App | None) -> int:
    """The declared port that a call is for (wire contract §3)."""
    if text is None:
        port = app.port if isinstance(app, AppRoute) and app.port is not None else next(iter(workspace.ports))
    elif text.isascii() and text.isdigit() and len(text) <= 5:
        port = int(text)
    else:
        raise BadRequest(f"paramPort must be a port number; this workspace declares {_declared(workspace)}")
    if port not in workspace.ports:
        raise BadRequest(f"this workspace does not declare port {port}, only {_declared(workspace)}")
    return port


def _declared(workspace: Workspace) -> str:
    return ", ".join(str(port) for port in workspace.ports)
