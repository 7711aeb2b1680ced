"""A task's result on its way to a file or to standard output."""

from __future__ import annotations

import base64
import binascii
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"))
"""Names of files that a picture goes to, in place of the reply that holds it."""


def put_result(value: Any, output: Path | None) -> None:
    """Write what a worker answered to a file, or to standard output.

    Where the file's name is that of a picture and the answer is an object with a list ``images`` of pictures in base64,
    the file gets the first of them, and ``name-2.png`` … the others.

    :raises click.UsageError: bytes would go to a terminal.
    """
    pictures = _pictures(value) if output is not None and output.suffix.lower() in PICTURES else []
    if output is not None and pictures:
        for number, picture in enumerate(pictures, 1):
            file = output if number == 1 else output.with_name(f"{output.stem}-{number}{output.suffix}")
            _write(file, picture)
        return
    content = _content(value)
    if output is not None:
        _write(output, content)
    elif isinstance(value, bytes) and sys.stdout.isatty():
        raise click.UsageError(f"the result is {len(value)} bytes that are no text: name a file for them with -o")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(
            content if not content or content.endswith(b"\n") or isinstance(value, bytes) else content + b"\n"
        )
        sys.stdout.buffer.flush()


def _content(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _pictures(value: Any) -> list[bytes]:
    images = value.get("images") if isinstance(value, Mapping) else None
    if not isinstance(images, list) or not images:
        return []
    try:
        return [base64.b64decode(str(each).rpartition(",")[2], validate=True) for each in images]
    except (binascii.Error, ValueError):
        return []


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(file)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    click.echo(f"wrote {file}, {len(content)} bytes", err=True)
