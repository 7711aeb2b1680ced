"""``apps``: friendly names under ``/user/`` that become calls to workers."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Discriminator, Tag

from ngpu.settings.block import Block, refusal, written
from ngpu.settings.kinds import Name, Options, PathAndQuery, Port, Text, Truth

BUILT_IN_CALLS: Final = frozenset(
    {
        *("schedulingTask", "queryTask", "queryTaskList", "queryNodes", "getTasksFromNode", "getDetailed"),
        *("getTask", "getTasks", "cancelTask", "brc20", "retryTask", "purgeQueue"),
    }
)
"""First segments of paths under ``/user/`` that are taken (wire contract §3, §4, §8)."""

_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _app_name(text: str) -> str:
    if text in BUILT_IN_CALLS:
        raise refusal("this is the name of a built-in call; choose another")
    if not text or not _NAME.issuperset(text) or text in (".", ".."):
        raise refusal("an app's name may have letters, digits, '-', '.', '_' and '~' only: it stands in a URL")
    return text


def _true(value: bool) -> bool:
    if not value:
        raise refusal("must be true; leave the key out for an app that calls workers")
    return value


AppName = Annotated[Text, AfterValidator(_app_name)]


class QueryAlias(Block):
    """Another name of ``queryTask``."""

    query: Annotated[Truth, AfterValidator(_true)]


class AppRoute(Block):
    """What a request for the app becomes: ``path`` and ``port`` ``None`` or empty mean the workspace's first.

    ``mode`` ``None`` means the adapter's own.
    """

    adapter: Name
    workspace: Name
    path: PathAndQuery = ""
    port: Port | None = None
    mode: Literal["sync", "async"] | None = None
    options: Options = written({})


def _which(value: Any) -> str:
    return "<query>" if isinstance(value, QueryAlias) or (isinstance(value, dict) and "query" in value) else "<route>"


App = Annotated[
    Annotated[QueryAlias, Tag("<query>")] | Annotated[AppRoute, Tag("<route>")],
    Discriminator(_which),
]
