"""The tables, and how a file is opened: only one that is ours, whole, and of a version that this program knows."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ngpu.errors import ConfigError, StoreUnavailable

APPLICATION = 0x6E677075
"""SQLite's ``application_id`` of our files: "ngpu" in ASCII."""

VERSION = 2
"""``user_version`` of the tables below."""

BUSY_TIMEOUT = 5000
"""Milliseconds to wait for a lock. Nobody but an operator's sqlite3 shell should ever hold one."""

REQUEST = -1
"""The attempt number under which a request's pieces are kept; those of results carry their attempt, from 0."""

BLOCK_BITS = 10
"""Queued tasks are counted in blocks of 1024 submission numbers, so that a place in a long queue costs no scan."""

# auto_vacuum stays off: freed pages are used again, so the file keeps the size of the busiest retention period. Moving
# pages would pay pointer maps on every large body and gain only a file that has to grow again.
TABLES = f"""
CREATE TABLE tasks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    workspace TEXT NOT NULL,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    submitted_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    node TEXT NOT NULL,          -- node_key() of the placement's address
    btc_address TEXT NOT NULL,
    submission TEXT NOT NULL,    -- JSON: what never changes
    placement TEXT NOT NULL,     -- JSON
    outcome TEXT,                -- JSON
    checkpoint TEXT NOT NULL DEFAULT ''
);
CREATE INDEX tasks_queued ON tasks (workspace, number, expires_at) WHERE status = 'queued';
CREATE INDEX tasks_expiring ON tasks (expires_at) WHERE status = 'queued';
CREATE INDEX tasks_running ON tasks (number) WHERE status = 'running';
CREATE INDEX tasks_ended ON tasks (workspace, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX tasks_by_time ON tasks (workspace, submitted_at, number);
CREATE INDEX tasks_by_node ON tasks (workspace, node, submitted_at, number) WHERE node <> '';
CREATE INDEX tasks_by_address ON tasks (workspace, btc_address, submitted_at, number) WHERE btc_address <> '';

CREATE TABLE pieces (
    task TEXT NOT NULL,
    attempt INTEGER NOT NULL,    -- {REQUEST}: the request
    piece INTEGER NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (task, attempt, piece)
);
CREATE TABLE uploads (task TEXT PRIMARY KEY) WITHOUT ROWID;    -- pieces whose task is not there yet

CREATE TABLE queue (
    workspace TEXT NOT NULL,
    block INTEGER NOT NULL,
    queued INTEGER NOT NULL,
    PRIMARY KEY (workspace, block)
) WITHOUT ROWID;
CREATE TRIGGER queue_added AFTER INSERT ON tasks WHEN new.status = 'queued' BEGIN
    INSERT INTO queue VALUES (new.workspace, new.number >> {BLOCK_BITS}, 1)
        ON CONFLICT DO UPDATE SET queued = queued + 1;
END;
CREATE TRIGGER queue_entered AFTER UPDATE OF status ON tasks WHEN new.status = 'queued' AND old.status <> 'queued' BEGIN
    INSERT INTO queue VALUES (new.workspace, new.number >> {BLOCK_BITS}, 1)
        ON CONFLICT DO UPDATE SET queued = queued + 1;
END;
CREATE TRIGGER queue_left AFTER UPDATE OF status ON tasks WHEN old.status = 'queued' AND new.status <> 'queued' BEGIN
    UPDATE queue SET queued = queued - 1 WHERE workspace = old.workspace AND block = old.number >> {BLOCK_BITS};
    DELETE FROM queue WHERE workspace = old.workspace AND block = old.number >> {BLOCK_BITS} AND queued = 0;
END;
"""

UPGRADES = {2: "ALTER TABLE tasks ADD COLUMN checkpoint TEXT NOT NULL DEFAULT '';"}
"""From the version before each to it."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode, with the settings that all of ours share.

    :raises StoreUnavailable: it cannot be opened just now.
    """
    try:
        db = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -16384")  # KiB
    except sqlite3.OperationalError as error:
        raise unavailable(path, error) from error
    return db


def prepare(path: Path) -> None:
    """Make the file, or see that the one there is ours; then clear away what a killed process left half done.

    :raises ConfigError: it is something else, damaged or of a newer version; it is left as it is.
    :raises StoreUnavailable: it is ours, but cannot be written just now.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fsync(fd)
        os.close(fd)
    except OSError as error:
        raise ConfigError(f"cannot open {path}: {error.strerror}; name a file that ngpu may write") from error
    try:
        with closing(connect(path)) as db:
            if _is_new(db, path):
                _create(db)
            else:
                _upgrade(db)
                _forget_leftovers(db)
    except sqlite3.OperationalError as error:
        raise unavailable(path, error) from error
    except sqlite3.DatabaseError as error:
        raise ConfigError(
            f"{path} cannot be used as a task store: {error}; "
            "it was left as it is: move it away, restore a copy, or name another file"
        ) from error


def unavailable(path: Path, error: sqlite3.Error) -> StoreUnavailable:
    """What a failure of SQLite means to whoever waits for the store."""
    code = getattr(error, "sqlite_errorname", type(error).__name__)
    return StoreUnavailable(f"the task store {path} cannot be used just now: {error} ({code})")


def _is_new(db: sqlite3.Connection, path: Path) -> bool:
    application, version, tables = (
        db.execute(question).fetchone()[0]
        for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_schema")
    )
    if application != APPLICATION and tables == 0 and version == 0:
        return True
    if application != APPLICATION:
        raise ConfigError(f"{path} is the SQLite database of another program; name another file")
    if version > VERSION:
        raise ConfigError(
            f"{path} was written by a newer ngpu (schema {version}, this one knows {VERSION}); "
            "start the newer one, or name another file"
        )
    return False


def _create(db: sqlite3.Connection) -> None:
    """All or nothing: a file with half of the tables would never open again."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
    db.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; {TABLES} COMMIT;"
    )


def _upgrade(db: sqlite3.Connection) -> None:
    """Bring an older file to these tables, one version after the other, each of them whole or not at all."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for step in range(version + 1, VERSION + 1):
        db.executescript(f"BEGIN IMMEDIATE; {UPGRADES[step]} PRAGMA user_version = {step}; COMMIT;")


def _forget_leftovers(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.execute("DELETE FROM pieces WHERE task IN (SELECT task FROM uploads)")
    db.execute("DELETE FROM uploads")
    db.execute("COMMIT")
