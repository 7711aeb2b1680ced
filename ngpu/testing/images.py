"""Images for `FakeEngine`: a registry in memory, and what a docker image tar holds."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

from ngpu.containers import RegistryLogin
from ngpu.errors import EngineRefused


class FakeRegistry:
    """Images of several engines, by their references.

    :param references: what it has from the beginning.
    :param login: who may pull; anybody by default.
    :ivar down: whether it cannot be reached.
    """

    def __init__(self, *references: str, login: RegistryLogin | None = None) -> None:
        self.down = False
        self.login = login
        self._pinned: dict[str, str] = {}
        self._all: set[str] = set()
        for reference in references:
            self.push(reference)

    def push(self, reference: str) -> str:
        """Another image under a reference.

        :returns: the reference with its digest.
        """
        digest = hashlib.sha256(f"{reference} {len(self._all)}".encode()).hexdigest()
        name, colon, tag = reference.rpartition(":")
        self._pinned[reference] = f"{name if colon and '/' not in tag else reference}@sha256:{digest}"
        self._all.add(self._pinned[reference])
        return self._pinned[reference]

    def pinned(self, reference: str, login: RegistryLogin | None) -> str:
        """The reference with its digest.

        :raises EngineRefused: it is down, does not know the reference, or will not have the login.
        """
        if "@sha256:" in reference:
            return reference
        self.check(self._pinned.get(reference, reference), login)
        return self._pinned[reference]

    def check(self, pinned: str, login: RegistryLogin | None) -> None:
        """Let a pull through.

        :raises EngineRefused: as ``pinned`` does.
        """
        name = pinned.partition("@")[0]
        if self.down:
            raise EngineRefused(f"the registry of {name} cannot be reached from the machine")
        if self.login not in (None, login):
            raise EngineRefused(f"the registry of {name} refuses the login")
        if pinned not in self._all:
            raise EngineRefused(f"there is no image {pinned}")


def image_of(archive: bytes) -> str:
    """The id of the image in a docker image tar.

    :raises EngineRefused: it is no such tar, or holds no image or several.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            manifest = json.loads(_file(tar, "manifest.json"))
            configs = [_file(tar, str(image["Config"])) for image in manifest]
    except (tarfile.TarError, KeyError, ValueError, TypeError):
        raise EngineRefused("the archive is no docker image tar: make one with docker save") from None
    if len(configs) != 1:
        raise EngineRefused(f"the archive holds {len(configs)} images; save exactly one")
    return f"sha256:{hashlib.sha256(configs[0]).hexdigest()}"


def _file(tar: tarfile.TarFile, name: str) -> bytes:
    opened = tar.extractfile(name)
    if opened is None:
        raise KeyError(name)
    return opened.read()
