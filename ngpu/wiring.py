"""Parts that are made of settings by plugins, and who of them follows the workspaces."""

from __future__ import annotations

from functools import partial
from typing import Any

from ngpu.adapter import IAppAdapter
from ngpu.adapting import Adapting
from ngpu.addresses import is_address
from ngpu.discovery import Plugins
from ngpu.fleet.health import HealthChecks
from ngpu.gates import Gate
from ngpu.interfaces import PluginContext
from ngpu.journal import this_process
from ngpu.metrics import Metrics
from ngpu.roster import Roster
from ngpu.settings import AppRoute, Loaded, Settings, Workspace
from ngpu.tasks.dispatcher import Dispatcher
from ngpu.tracing import ITracing


def watch_changes(roster: Roster, health: HealthChecks, dispatcher: Dispatcher, metrics: Metrics) -> None:
    """Let everybody who keeps something of a workspace follow its changes."""

    def changed(before: Workspace | None, after: Workspace | None) -> None:
        for workspace_id in {each.id for each in (before, after) if each is not None}:
            health.follow(workspace_id)
        dispatcher.follow(before, after)
        if before is not None and (after is None or after.label != before.label):
            metrics.forget_workspace(before.label)

    roster.watch(changed)


def tracing_of(loaded: Loaded, reactor: Any) -> ITracing | None:
    """What makes spans; ``None`` where none are wanted, and then nothing of it is loaded.

    :raises ConfigError: it is not installed.
    """
    endpoint = loaded.settings.tracing.endpoint
    if not endpoint:
        return None
    try:
        from ngpu.otel import Tracing
    except ImportError as error:
        why = f"needs OpenTelemetry, which is not installed ({error}): pip install 'ngpu[otel]'"
        raise loaded.located(("tracing", "endpoint"), why) from None
    return Tracing(endpoint, this_process(), reactor)


def gates_of(settings: Settings, plugins: Plugins, context: PluginContext, metrics: Metrics) -> dict[str, Gate]:
    """The gates, by name."""
    return {
        name: Gate(
            gate,
            plugins.make("checker", gate.checker, gate.options, context),
            context.clock,
            is_address,
            counted=partial(metrics.count_gate, name),
        )
        for name, gate in settings.gates.items()
    }


def adapters_of(settings: Settings, plugins: Plugins, context: PluginContext) -> dict[str, IAppAdapter]:
    """The adapters of apps that have one, by the app's name."""
    return {
        name: Adapting(name, app.adapter, plugins.make("adapter", app.adapter, app.options, context))
        for name, app in settings.apps.items()
        if isinstance(app, AppRoute)
    }
