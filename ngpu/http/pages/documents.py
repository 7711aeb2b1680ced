"""The OpenAPI documents as JSON, with calls to copy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ngpu.http.pages.samples import with_samples

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def as_json(path: Path) -> bytes:
    """A document of the disk.

    :raises OSError: it cannot be read.
    """
    document = yaml.load(path.read_text("utf-8"), _LOADER)
    return json.dumps(with_samples(document), ensure_ascii=False, separators=(",", ":")).encode()
