"""A gateway without sockets whose workspaces come and go: the real rooms around a `Roster`, joined as they are."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from gateway_rig import NO_SPOOL, STARTED, ScriptedStore, Watched, begun, called, done
from twisted.internet.task import Clock

from ngpu.backlog import Backlog
from ngpu.calls import Caller
from ngpu.direct import DirectCalls
from ngpu.discovery import discover
from ngpu.figures import Figures
from ngpu.fleet.health import HealthChecks
from ngpu.fleet.serving import Serving
from ngpu.gateway import Gateway
from ngpu.interfaces import PluginContext
from ngpu.metrics import Metrics
from ngpu.model import BytesBody, DataForm, Node, Replica, Task, UpstreamRequest
from ngpu.roster import Roster
from ngpu.settings import Workspace
from ngpu.sharing import Alone
from ngpu.submission import Submission
from ngpu.tasks.conversations import Conversations
from ngpu.tasks.dispatcher import Dispatcher
from ngpu.tasks.runs import Runs
from ngpu.testing.forwarder import Answer, FakeForwarder
from ngpu.testing.store import Shelf
from ngpu.upstream.doubts import Doubts
from ngpu.wiring import watch_changes

NODES = {"ab01": Node("0xAB01", "10.0.0.1"), "ab02": Node("0xAB02", "10.0.0.2")}


def block(id: str = "w1", *ports: int, **keys: Any) -> dict[str, Any]:
    """A block of ``workspaces`` with a replica on each of these ports."""
    upstream = [{"node": "0xAB01", "ports": {8080: port}} for port in ports]
    return {"id": id, "name": "w", "ports": {8080: 7860}, "upstream": upstream, "timeout": "60s", **keys}


class Hall:
    """The rooms; nothing is there to begin with."""

    def __init__(
        self,
        answers: Mapping[int, Answer] | None = None,
        shelf: Shelf | None = None,
        adapters: Mapping[str, Any] | None = None,
        news: Any = Alone.news,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(STARTED)
        self.shelf = shelf or Shelf()
        self.store = ScriptedStore(self.shelf)
        self.forwarder = FakeForwarder(self.clock, answers)
        self.roster = Roster(NODES, self.clock, news=news)
        self.metrics = Metrics(self.roster.labels)
        self.context = PluginContext(self.clock, Random(1), ".")
        self.plugins = discover(())
        lines, workspaces = self.roster.lines, self.roster.workspaces
        caller = Caller(self.forwarder, self.clock, self.metrics)
        nothing: Any = None
        conversations = Conversations(
            adapters or {},
            store=self.store,
            caller=caller,
            lines=lines,
            workspaces=workspaces,
            clock=self.clock,
            urls=nothing,
            publish=nothing,
        )
        self.runs = Runs(self.store, caller, self.clock, self.metrics, conversations)
        self.dispatcher = Dispatcher(self.store, self.runs, lines, workspaces, self.clock)
        self.health = HealthChecks(self.forwarder, lines, workspaces, self.clock, self.metrics, news)
        self.serving = Serving(lines, self.roster.leaving, self.health, Doubts(self.clock))
        watch_changes(self.roster, self.health, self.dispatcher, self.metrics)
        self.gateway = Gateway(
            store=self.store,
            runs=self.runs,
            direct=DirectCalls(self.store, self.runs, self.clock, self.metrics, NO_SPOOL),
            dispatcher=self.dispatcher,
            lines=lines,
            gates={},
            zone=ZoneInfo("UTC"),
            clock=self.clock,
            metrics=self.metrics,
        )
        self.backlog = Backlog(
            self.gateway,
            store=self.store,
            runs=self.runs,
            dispatcher=self.dispatcher,
            gates={},
            zone=ZoneInfo("UTC"),
            clock=self.clock,
            metrics=self.metrics,
        )
        self.health.start()

    def start(self) -> None:
        done(self.dispatcher.start())

    def policy(self, workspace: Workspace) -> Any:
        return self.plugins.make("selection", workspace.selection.policy, workspace.selection.options, self.context)

    def put(self, *args: Any, **keys: Any) -> Workspace:
        """Let a workspace in, or change it; see `block`."""
        workspace = Workspace.model_validate(block(*args, **keys))
        self.roster.put(workspace, self.policy(workspace))
        return workspace

    def submission(self, credential: str = "w1", **fields: Any) -> Submission:
        given: dict[str, Any] = {
            "access": self.roster.tenancy.open(credential),
            "method": "schedulingTask",
            "request": UpstreamRequest("POST", "/run", 8080),
            "body": BytesBody(b"{}"),
            "form": DataForm.STRING,
            "text": True,
            "btc_address": "",
            "client_ip": "192.0.2.1",
            "request_url": "/user/schedulingTask",
        }
        return Submission(**{**given, **fields})

    def submit(self, credential: str = "w1", **fields: Any) -> str:
        task: Task = done(self.gateway.submit(self.submission(credential, **fields)))
        return task.id

    def call(self, credential: str = "w1", **fields: Any) -> Watched:
        return called(self.gateway, self.submission(credential, **fields))

    def task(self, task_id: str) -> Task:
        task = done(self.store.inner.get(task_id))
        assert task is not None
        return task

    def scrape(self) -> Any:
        return Figures(self.metrics, self.roster.lines, self.store, self.clock).exposition()

    def figures(self) -> str:
        """What a scrape shows of workspaces."""
        text = done(self.scrape()).decode()
        return "\n".join(line for line in text.splitlines() if 'workspace="' in line)

    def pass_time(self, seconds: float, step: float = 0.5) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    def stop(self) -> None:
        """As the service stops."""
        self.store.refusing.clear()
        self.store.release()
        self.health.stop()
        for line in self.roster.lines.values():
            line.close()
        stopping = begun(self.dispatcher.stop(1.0))
        self.pass_time(2)
        assert stopping.over and stopping.value is None
        assert self.clock.getDelayedCalls() == []


def copy(name: str, port: int = 18080, workspace: str = "w1", **fields: Any) -> Replica:
    """A replica as the fleet makes them."""
    return Replica(name, workspace, NODES["ab02"], {8080: port}, **fields)
