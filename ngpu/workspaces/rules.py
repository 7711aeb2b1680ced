"""What a workspace of the configuration file may say, and one that is made at run time may not.

The file is the operator's own. What comes over the admin API may be a customer's: it must not read files of the
gateway's machine, nor of a node.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ngpu.settings import Workspace, dotted
from ngpu.workspaces.shown import masked

Told = tuple[str, str]
"""The path of a value, and what is wrong with it."""

ARCHIVE = "image.archive"


def url_of_archive(workspace: Workspace) -> str | None:
    """The URL that the workspace's image is loaded from; ``None`` where it is not."""
    archive = workspace.image.archive if workspace.image is not None else None
    return archive if archive is not None and archive.lower().startswith(("http://", "https://")) else None


def unmasked(values: Mapping[str, Any]) -> Iterator[Told]:
    """Refuses the stars that stood for a secret when the settings were shown."""
    for path in masked(values):
        yield dotted(path), "the stars stand for a secret that was not shown: write it again, or leave the key out"


def at_run_time(workspace: Workspace, mounts: Sequence[str]) -> Iterator[Told]:
    """What a workspace that is made at run time asks for, and cannot have.

    :param mounts: ``fleet.mounts``, the folders of hosts that such a workspace may mount, with what is in them.
    """
    if workspace.id in (".", ".."):
        yield "id", "must hold more than dots: it stands in addresses"
    if workspace.image is not None and workspace.image.archive is not None and url_of_archive(workspace) is None:
        yield ARCHIVE, "must be an http(s) URL: only the configuration file may name a path of the gateway's machine"
    for index, mount in enumerate(workspace.container.mounts):
        path = f"container.mounts[{index}].source"
        if posixpath.normpath(mount.source) != (mount.source.rstrip("/") or "/"):
            yield path, "must be a plain path, without '.', '..' and doubled slashes"
        elif not any(_within(mount.source, folder) for folder in mounts):
            allowed = f"there are {', '.join(mounts)}" if mounts else "there are none"
            yield path, f"is in no folder of fleet.mounts, which the operator allows; {allowed}"


def _within(source: str, folder: str) -> bool:
    folder = posixpath.normpath(folder)
    return source.rstrip("/") == folder or source.startswith(folder.rstrip("/") + "/")
