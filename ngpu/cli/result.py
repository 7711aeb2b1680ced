"""A task's result on its way to a file or to standard output."""

from __future__ import annotations

import base64
import binascii
import errno
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ngpu.cli.aside import aside
from ngpu.cli.exits import Failed

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


def see_place_for(output: Path | None) -> None:
    """See that a file can be made there, before the work begins whose result it is for.

    :raises Failed: its folder is not there, or cannot be written.
    """
    if output is None:
        return
    whole = Path(os.path.realpath(output))
    for folder in (output.parent, whole.parent):
        if not folder.is_dir():
            raise _unwritable(output, os.strerror(errno.ENOENT))
    there = whole if whole.exists() and not whole.is_file() else whole.parent
    if not os.access(there, os.W_OK):
        writable = not os.statvfs(there).f_flag & os.ST_RDONLY
        raise _unwritable(output, os.strerror(errno.EACCES if writable else errno.EROFS))


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
    """Whole or not at all, a device or a pipe excepted; where a link leads to."""
    whole = Path(os.path.realpath(file))
    partial = whole.with_name(f".{whole.name}.{os.getpid()}")
    try:
        if file.exists() and not file.is_file():
            file.write_bytes(content)
        else:
            partial.write_bytes(content)
            partial.replace(whole)
    except BrokenPipeError:
        raise
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _unwritable(file, error.strerror or str(error)) from None
    aside(f"wrote {file}, {len(content)} bytes")


def _unwritable(file: Path, why: str) -> Failed:
    return Failed(f"{file} cannot be written: {why}")
