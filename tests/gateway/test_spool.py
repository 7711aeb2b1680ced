"""Ends in files until the store has them: what a killed process has left, and what a living one does with its own."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gateway_rig import done
from leaks import LeakWatch
from task_stores import DONE, HERE, sample
from twisted.logger import capturedLogs

from ngpu.changing import changed
from ngpu.direct import spool
from ngpu.direct.frames import HEADER
from ngpu.direct.spool import Sheet, Spool
from ngpu.errors import StoreUnavailable
from ngpu.model import Task, TaskStatus


def over(task_id: str) -> Task:
    task = sample(task_id, direct=True, btc_address="bc1q\udcff")
    return changed(
        task, status=TaskStatus.FINISHED, started_at=1001.0, ended_at=1002.5, placement=HERE, outcome=DONE, attempt=1
    )


class Taken:
    """What a store was given."""

    def __init__(self) -> None:
        self.records: list[Task] = []
        self.error: Exception | None = None

    async def __call__(self, tasks: Sequence[Task]) -> None:
        if self.error is not None:
            raise self.error
        self.records += tasks


def opened(folder: Path, taken: Any = None) -> Spool:
    made = Spool(folder)
    done(made.open(taken or Taken()))
    return made


def kept(spooled: Spool, *names: str) -> Sheet:
    """The file of the last one."""
    sheets = [spooled.keep(over(name)) for name in names]
    assert sheets[-1] is not None
    return sheets[-1]


def killed(spooled: Spool) -> None:
    """What the kernel does of a process that is killed."""
    for sheet in spooled._open:
        os.close(sheet._fd)
    spooled._open.clear()


def test_what_a_killed_process_has_left_comes_into_the_store_once(tmp_path: Path) -> None:
    first = opened(tmp_path / "a" / "b")
    kept(first, "x", "y")
    killed(first)
    taken = Taken()
    second = opened(tmp_path / "a" / "b", taken)
    assert taken.records == [over("x"), over("y")]
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700
    (file,) = (tmp_path / "a/b").iterdir()
    assert (file.stat().st_mode & 0o777, file.stat().st_size) == (0o600, len(HEADER))
    second.close()
    assert list((tmp_path / "a/b").iterdir()) == []


def test_what_a_living_process_has_is_its_own(tmp_path: Path) -> None:
    living = opened(tmp_path)
    kept(living, "x")
    taken = Taken()
    other = opened(tmp_path, taken)
    assert taken.records == []
    other.close()
    living.close()
    opened(tmp_path, taken).close()
    assert taken.records == [over("x")], "a process that ends leaves what its store did not take"


def test_nothing_is_left_of_what_the_store_has(tmp_path: Path) -> None:
    spooled = opened(tmp_path)
    sheet = kept(spooled, "x", "y")
    spooled.let_go([sheet])
    kept(spooled, "z")
    spooled.let_go([sheet])
    assert sheet.size > len(HEADER)
    spooled.let_go([sheet])
    killed(spooled)
    taken = Taken()
    opened(tmp_path, taken).close()
    assert taken.records == []


def test_files_do_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spooled = opened(tmp_path)
    first = kept(spooled, "a", "b", "c")
    monkeypatch.setattr(spool, "MOST", first.size - 1)
    second = kept(spooled, "d")
    assert second is not first
    assert len(list(tmp_path.iterdir())) == 2
    spooled.let_go([first] * 3)
    assert len(list(tmp_path.iterdir())) == 1
    spooled.let_go([second])
    spooled.close()
    spooled.let_go([second])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rest", [b"\1", b"\x10\0\0\0cut", b"\1\0\0\0\xff", b"\1\0\0\0N", b"\xff" * 40])
def test_what_was_being_written_spoils_nothing_before_it(tmp_path: Path, rest: bytes) -> None:
    spooled = opened(tmp_path)
    sheet = kept(spooled, "x", "y")
    os.write(sheet._fd, rest)
    killed(spooled)
    taken = Taken()
    with capturedLogs() as events:
        opened(tmp_path, taken).close()
    assert taken.records == [over("x"), over("y")]
    assert sum("cannot be read to its end" in event["log_format"] for event in events) == 1


def test_something_else_of_that_name(tmp_path: Path) -> None:
    for number, text in enumerate([b"", b"hello, world", bytes(100), b"\x02\0\0\0(\0" * 4]):
        (tmp_path / f"{number}.ends").write_bytes(text)
    taken = Taken()
    opened(tmp_path, taken).close()
    assert taken.records == []


def test_what_was_said_last_of_a_call_counts(tmp_path: Path) -> None:
    spooled = opened(tmp_path)
    kept(spooled, "x", "y")
    truer = changed(over("x"), status=TaskStatus.FAILED)
    spooled.keep(truer)
    killed(spooled)
    taken = Taken()
    opened(tmp_path, taken).close()
    assert taken.records == [truer, over("y")]


def test_what_the_store_does_not_take_stays(tmp_path: Path) -> None:
    first = opened(tmp_path)
    kept(first, "x")
    killed(first)
    taken = Taken()
    taken.error = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        opened(tmp_path, taken)
    taken.error = None
    opened(tmp_path, taken).close()
    assert taken.records == [over("x")]


@pytest.mark.parametrize("name", ["file/below", "file"])
def test_where_nothing_can_be_written_calls_go_on_and_it_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with capturedLogs() as events:
        spooled = opened(tmp_path / name)
    assert spooled.keep(over("x")) is None
    (event,) = events
    assert "let spool name a folder" in event["log_format"]
    spooled.let_go([None])
    spooled.close()


def test_a_disk_without_room_is_told_once_and_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spooled = opened(tmp_path)
    sheet = kept(spooled, "w")

    write = os.write

    def full(fd: int, data: bytes, size: int) -> int:
        return write(fd, data[:10]) if b"part" in data else -1

    def only_a_part(fd: int, data: bytes) -> int:
        return write(fd, data[:10])

    with capturedLogs() as events, monkeypatch.context() as patched:
        patched.setattr(spool, "_write", full)
        patched.setattr(spool.os, "write", only_a_part)
        kept(spooled, "x", "part")
        patched.setattr(spool, "MOST", sheet.size - 1)
        kept(spooled, "y")
        assert opened(tmp_path).keep(over("z")) is None
    assert ["cannot be written" in event["log_format"] for event in events] == [True, False, False]
    kept(spooled, "z")
    killed(spooled)
    taken = Taken()
    opened(tmp_path, taken).close()
    assert taken.records == [over("w"), over("z")]
    assert sheet.held == 5 and list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_read_takes_no_other_along(tmp_path: Path) -> None:
    spooled = opened(tmp_path)
    kept(spooled, "x")
    killed(spooled)
    (tmp_path / "0.ends").mkdir()
    unreadable = tmp_path / "00.ends"
    unreadable.write_bytes(b"")

    def refuses(self: Path, mode: str) -> Any:
        if self == unreadable:
            raise PermissionError(13, "Permission denied")
        return open(self, mode)

    taken = Taken()
    with capturedLogs() as events, pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "open", refuses)
        second = opened(tmp_path, taken)
    assert taken.records == [over("x")]
    assert [event["file"] for event in events if "cannot be read" in event["log_format"]] == [str(unreadable)]
    assert second.keep(over("y")) is not None
    second.close()


def test_a_record_that_the_store_cannot_take_keeps_no_gateway_from_its_start(
    tmp_path: Path, no_leaks: LeakWatch
) -> None:
    no_leaks.expect(ZeroDivisionError)
    spooled = opened(tmp_path)
    kept(spooled, "x", "wrong", "y")
    killed(spooled)
    taken = Taken()

    async def choosy(tasks: Sequence[Task]) -> None:
        if any(task.id == "wrong" for task in tasks):
            raise ZeroDivisionError
        await taken(tasks)

    opened(tmp_path, choosy).close()
    assert taken.records == [over("x"), over("y")]
    assert list(tmp_path.iterdir()) == []


def test_what_was_killed_when_it_made_its_file_leaves_none_for_ever(tmp_path: Path) -> None:
    old, new = tmp_path / "0.new", tmp_path / "1.new"
    for path in (old, new):
        path.write_bytes(HEADER)
    os.utime(old, (0, 0))
    opened(tmp_path).close()
    assert list(tmp_path.iterdir()) == [new], "somebody may be making it"


def test_a_folder_that_is_removed_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    spooled = opened(folder)
    sheet = kept(spooled, "x")
    shutil.rmtree(folder)
    spooled.let_go([sheet])
    kept(spooled, "y")
    killed(spooled)
    taken = Taken()
    opened(folder, taken).close()
    assert taken.records == [over("y")]


def test_a_folder_that_becomes_a_file_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a"
    spooled = opened(folder)
    sheet = kept(spooled, "x")
    monkeypatch.setattr(spool, "MOST", sheet.size - 1)
    second = kept(spooled, "y")
    shutil.rmtree(folder)
    folder.write_text("")
    with capturedLogs() as events:
        spooled.let_go([sheet])
        spooled.let_go([second])
        last = spooled.keep(over("z"))
        spooled.let_go([last])
    assert ["nothing can be written" in event["log_format"] for event in events] == [True], "it is told once"
    spooled.close()


def test_a_file_does_not_grow_for_ever_where_no_other_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled = opened(tmp_path / "a")
    sheet = kept(spooled, "x")
    monkeypatch.setattr(spool, "MOST", sheet.size - 1)
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "a").write_text("")
    held = [spooled.keep(over(f"{n}")) for n in range(9)]
    assert [each is sheet for each in held[:1]] == [True]
    assert held[-1] is None
    assert sheet.size < spool.MOST * 3
    spooled.close()


def test_a_disk_that_becomes_read_only_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ext4 makes itself after an error: neither can anything be written, nor cut."""
    spooled = opened(tmp_path)
    sheet = kept(spooled, "x")

    def broken(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(spool, "_write", lambda fd, data, size: write(fd, data[:10]))
        for name in ("ftruncate", "open"):
            patched.setattr(spool.os, name, broken)
        kept(spooled, "y")
        assert spooled.keep(over("z")) is None
        spooled.let_go([sheet, sheet])
    kept(spooled, "later")
    killed(spooled)
    taken = Taken()
    opened(tmp_path, taken).close()
    assert over("later") in taken.records, "it goes into another file: nothing behind a part of a record can be read"
