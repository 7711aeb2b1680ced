"""The admin listener put together: the admin API, sessions, and the dashboard that uses both."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from ngpu.figures import Exposing
from ngpu.gateway import Gateway
from ngpu.http.admin import AdminRoute, admin_resource
from ngpu.http.admin_session import AdminSession
from ngpu.http.bearer import Bearers
from ngpu.http.dashboard import Dashboard
from ngpu.http.guard import Guard
from ngpu.http.session import Sessions
from ngpu.interfaces import IDocuments


def operators_resource(
    gateway: Gateway,
    figures: Exposing,
    api: Iterable[AdminRoute],
    token: str,
    documents: IDocuments,
    clock: IReactorTime,
    *,
    open_metrics: bool,
) -> IResource:
    """What operators are served.

    :param token: opens everything.
    :param documents: where sessions are kept.
    """
    sessions = Sessions(token, documents, clock.seconds)
    guard = Guard(Bearers(token, clock.seconds), sessions, clock.seconds)
    session = AdminSession(sessions, guard).routes
    return admin_resource(gateway, figures, guard, open_metrics, api, session, Dashboard().routes)
