"""What the gateway counts, for Prometheus. Labels are bounded by what there is, never by what callers send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from ngpu.certificates import Standing
from ngpu.histogram import Histogram
from ngpu.outbox import Backlog
from ngpu.tracing import ITracing

M = TypeVar("M", Counter, Gauge)

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""The media type of `Metrics.exposition`."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The gateway's counters; one object a process, handed to whoever counts.

    :param labels: what to call each workspace, by id; an id can be a credential, and so is never shown. Read anew
        each time: workspaces come and go.
    :param process: which of several processes this is, for the label of that name; 0 where there is but one.
    :ivar tracing: makes the spans of what is counted; ``None`` where nobody wants any.
    """

    def __init__(self, labels: Mapping[str, str], process: int = 0) -> None:
        self.tracing: ITracing | None = None
        self._process = process
        self._labels = labels
        self._sources: list[Callable[[], None]] = []
        self._children: dict[tuple[Any, ...], Any] = {}
        self._fresh: dict[tuple[Any, ...], int] = {}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "ngpu_http_requests", "Requests answered", ["listener", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "ngpu_http_request_seconds",
            "Seconds from a request's head to its end",
            ["listener", "route"],
            BUCKETS,
            self.registry,
        )
        self.calls = Counter(
            "ngpu_upstream_calls",
            "Calls to replicas by how they ended",
            ["workspace", "result"],
            registry=self.registry,
        )
        self.call_seconds = Histogram(
            "ngpu_upstream_call_seconds", "Seconds of a call to a replica", ["workspace"], BUCKETS, self.registry
        )
        self.tasks = Counter(
            "ngpu_tasks_ended", "Tasks by how they ended", ["workspace", "status"], registry=self.registry
        )
        self.accepted = Counter("ngpu_tasks_accepted", "Tasks taken in", ["workspace"], registry=self.registry)
        self.store_errors = Counter(
            "ngpu_store_errors", "New tasks, and ends of tasks at first, that the store refused", registry=self.registry
        )
        self.webhooks = Counter(
            "ngpu_webhook_deliveries", "Webhooks by what a try came to", ["workspace", "result"], registry=self.registry
        )
        self.webhooks_pending = Gauge(
            "ngpu_webhooks_pending", "Webhooks that wait to be delivered", ["workspace"], registry=self.registry
        )
        self.webhooks_dead = Gauge(
            "ngpu_webhooks_dead", "Webhooks that were given up", ["workspace"], registry=self.registry
        )
        self.streams = Gauge("ngpu_status_streams", "Statuses of tasks that are streamed now", registry=self.registry)
        self.queued = Gauge("ngpu_queue_tasks", "Tasks that wait in the store", ["workspace"], registry=self.registry)
        self.waiting = Gauge("ngpu_line_waiting", "Calls that wait for a slot", ["workspace"], registry=self.registry)
        self.in_flight = Gauge(
            "ngpu_replica_in_flight", "Calls a replica works on", ["workspace", "replica"], registry=self.registry
        )
        self.up = Gauge(
            "ngpu_replica_up",
            "1 while a replica's health checks pass",
            ["workspace", "replica"],
            registry=self.registry,
        )

        self.copies_wanted = Gauge(
            "ngpu_copies_wanted", "Copies that a workspace is to have", ["workspace"], registry=self.registry
        )
        self.copies_serving = Gauge(
            "ngpu_copies_serving", "Copies that are healthy", ["workspace"], registry=self.registry
        )
        self.engine_up = Gauge(
            "ngpu_engine_up", "1 while a node's container engine answers", ["node"], registry=self.registry
        )
        self.steps_failed = Counter(
            "ngpu_fleet_steps_failed", "Steps that a node's engine did not make", ["node"], registry=self.registry
        )

        self.slots = Gauge("ngpu_slots", "Calls that replicas work on at most", ["workspace"], registry=self.registry)
        self.slots_used = Gauge("ngpu_slots_used", "Slots that are taken", ["workspace"], registry=self.registry)
        self.wait_seconds = Histogram(
            "ngpu_task_wait_seconds",
            "Seconds from a task's submission to its last start, raw calls left out",
            ["workspace"],
            BUCKETS,
            self.registry,
        )
        self.gates = Counter(
            "ngpu_gate_checks", "Addresses by what a gate said of them", ["gate", "outcome"], registry=self.registry
        )
        self.events = Counter(
            "ngpu_events", "Events of this process's own journal", ["kind", "severity"], registry=self.registry
        )
        self.connections = Gauge("ngpu_connections", "Connections that are open", ["listener"], registry=self.registry)
        self.connections_limit = Gauge(
            "ngpu_connections_limit", "Connections that may be open", ["listener"], registry=self.registry
        )
        self.loop_lag = prometheus_client.Histogram(
            "ngpu_loop_lag_seconds",
            "Seconds by which the process was late for what was due",
            buckets=_SHORT,
            registry=self.registry,
        )
        self.store_up = Gauge("ngpu_store_up", "1 while the store answers", registry=self.registry)
        self.store_seconds = prometheus_client.Histogram(
            "ngpu_store_answer_seconds",
            "Seconds that the store took to answer, asked every few seconds",
            buckets=_SHORT,
            registry=self.registry,
        )
        self.store_add_seconds = prometheus_client.Histogram(
            "ngpu_store_add_seconds", "Seconds until a new task was durable", buckets=_SHORT, registry=self.registry
        )
        self.leads = Gauge("ngpu_leads", "1 while this gateway works on the fleet", registry=self.registry)
        self.info = Gauge("ngpu_info", "1, with the version", ["version"], registry=self.registry)
        self.certificate_expires = Gauge(
            "ngpu_certificate_expiry_timestamp_seconds",
            "When the certificate that a listener uses expires, in seconds since 1970",
            ["certificate"],
            registry=self.registry,
        )
        self.certificate_refused = Gauge(
            "ngpu_certificate_refused",
            "1 while a certificate's files hold what cannot be used, and an older one is in use",
            ["certificate"],
            registry=self.registry,
        )

    def add_source(self, bring_up_to_date: Callable[[], None]) -> None:
        """Have somebody called before each exposition, who sets what would cost too much to follow."""
        self._sources.append(bring_up_to_date)

    def label(self, workspace: str) -> str:
        """What to call the workspace of that id."""
        return self._labels.get(workspace, "former")

    def of(self, metric: M, *labels: str) -> M:
        """The same as ``metric.labels``, which takes far longer to find it."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        found: M = child
        return found

    def count(self, metric: Counter, *labels: str) -> None:
        """Count one. The counter has it once somebody asks: its own ``inc`` takes a lock for each."""
        key = (metric, *labels)
        self._fresh[key] = self._fresh.get(key, 0) + 1

    def _settle(self) -> None:
        """Let the counters have what was counted since."""
        fresh, self._fresh = self._fresh, {}
        for key, number in fresh.items():
            self.of(*key).inc(number)

    def counted(self, metric: M, *labels: str) -> Sequence[Sample]:
        """What a metric has for these labels by now; nothing where nobody has counted for them here."""
        self._settle()
        child = self._children.get((metric, *labels))
        return () if child is None else [sample for each in child.collect() for sample in each.samples]

    def count_event(self, kind: str, severity: str, times: int) -> None:
        """Count events of the journal."""
        self.events.labels(kind, severity).inc(times)

    def count_gate(self, gate: str, outcome: str) -> None:
        """Count what a gate said."""
        self.gates.labels(gate, outcome).inc()

    def show_webhooks(self, backlogs: Mapping[str, Backlog]) -> None:
        """Show what the outbox holds, by workspace id; of workspaces that are not named there, nothing."""
        for gauge in (self.webhooks_pending, self.webhooks_dead):
            gauge.clear()
        for workspace, backlog in backlogs.items():
            label = self.label(workspace)  # several former workspaces are one
            self.webhooks_pending.labels(label).inc(backlog.pending)
            self.webhooks_dead.labels(label).inc(backlog.dead)

    def show_certificates(self, standings: Iterable[Standing]) -> None:
        """Show how the listeners' certificates stand, by their files."""
        for each in standings:
            self.of(self.certificate_expires, each.file).set(each.expires)
            self.of(self.certificate_refused, each.file).set(each.refused)

    def forget_replica(self, label: str, replica: str) -> None:
        """Show a replica of the workspace that is called so no more."""
        for metric in (self.up, self.in_flight):
            metric.remove(label, replica)

    def forget_deployment(self, label: str) -> None:
        """Show nothing more of the deployment of the workspace that is called so."""
        for metric in (self.copies_wanted, self.copies_serving):
            metric.remove_by_labels({"workspace": label})

    def forget_workspace(self, label: str) -> None:
        """Show nothing more of the workspace that was called so: else each that ever was would be counted for ever."""
        self._settle()
        self._children.clear()
        for metric in (self.calls, self.call_seconds, self.tasks, self.accepted, self.queued, self.waiting):
            metric.remove_by_labels({"workspace": label})
        for metric in (self.slots, self.slots_used, self.wait_seconds):
            metric.remove_by_labels({"workspace": label})
        for metric in (self.webhooks, self.webhooks_pending, self.webhooks_dead):
            metric.remove_by_labels({"workspace": label})
        for metric in (self.up, self.in_flight):
            metric.remove_by_labels({"workspace": label})

    def exposition(self) -> bytes:
        """Everything, in Prometheus' text format."""
        self._settle()
        for bring_up_to_date in self._sources:
            bring_up_to_date()
        if not self._process:
            return generate_latest(self.registry)
        labelled = CollectorRegistry()
        labelled.register(_Labelled(self.registry, str(self._process)))
        return generate_latest(labelled)


class _Labelled(Collector):
    """Everything of a registry, with the process that it is of."""

    def __init__(self, registry: CollectorRegistry, process: str) -> None:
        self._registry = registry
        self._process = process

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`."""
        for metric in self._registry.collect():
            samples = [each._replace(labels={**each.labels, "process": self._process}) for each in metric.samples]
            metric.samples = samples
            yield metric
