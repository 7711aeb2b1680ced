"""The tables, and how a file is opened: only one that is ours, whole, and of a version that this program knows."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ngpu.errors import ConfigError, StoreUnavailable
from ngpu.examining import Finding, Level

APPLICATION = 0x6E677075
"""SQLite's ``application_id`` of our files: "ngpu" in ASCII."""

VERSION = 4
"""``user_version`` of the tables below."""

BUSY_TIMEOUT = 5000
"""Milliseconds to wait for a lock. Nobody but an operator's sqlite3 shell should ever hold one."""

REQUEST = -1
"""The attempt number under which a request's pieces are kept; those of results carry their attempt, from 0."""

BLOCK_BITS = 10
"""Queued tasks are counted in blocks of 1024 turns."""

DOCUMENTS = """
CREATE TABLE documents (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    document TEXT NOT NULL,      -- JSON
    PRIMARY KEY (collection, key)
) WITHOUT ROWID;
"""

# auto_vacuum stays off: freed pages are used again, so the file keeps the size of the busiest retention period. Moving
# pages would pay pointer maps on every large body and gain only a file that has to grow again.
_TASKS = f"""
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
    submission TEXT NOT NULL,    -- JSON: what is not searched by
    placement TEXT NOT NULL,     -- JSON
    outcome TEXT,                -- JSON
    checkpoint TEXT NOT NULL DEFAULT '',
    priority INTEGER NOT NULL DEFAULT 1,
    place REAL NOT NULL DEFAULT 0,
    turn INTEGER NOT NULL DEFAULT 0,    -- of two places that are alike; number, until the task is retried
    retries INTEGER NOT NULL DEFAULT 0,
    webhook TEXT NOT NULL DEFAULT '',
    idempotency_key TEXT NOT NULL DEFAULT ''
);
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
"""

# Among the live tasks of one workspace and priority, the order of turn is that of place, so blocks of turns can be
# counted, and a place in a long queue costs no scan.
_QUEUE = f"""
CREATE INDEX tasks_waiting ON tasks (workspace, place, turn, expires_at) WHERE status = 'queued';
CREATE INDEX tasks_turns ON tasks (workspace, priority, turn) WHERE status = 'queued';
CREATE INDEX tasks_live ON tasks (workspace, priority, place, turn) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX tasks_by_key ON tasks (workspace, idempotency_key) WHERE idempotency_key <> '';

CREATE TABLE queue (
    workspace TEXT NOT NULL,
    priority INTEGER NOT NULL,
    block INTEGER NOT NULL,
    queued INTEGER NOT NULL,
    PRIMARY KEY (workspace, priority, block)
) WITHOUT ROWID;
CREATE TRIGGER queue_added AFTER INSERT ON tasks WHEN new.status = 'queued' BEGIN
    INSERT INTO queue VALUES (new.workspace, new.priority, new.turn >> {BLOCK_BITS}, 1)
        ON CONFLICT DO UPDATE SET queued = queued + 1;
END;
CREATE TRIGGER queue_entered AFTER UPDATE OF status ON tasks WHEN new.status = 'queued' AND old.status <> 'queued' BEGIN
    INSERT INTO queue VALUES (new.workspace, new.priority, new.turn >> {BLOCK_BITS}, 1)
        ON CONFLICT DO UPDATE SET queued = queued + 1;
END;
CREATE TRIGGER queue_left AFTER UPDATE OF status ON tasks WHEN old.status = 'queued' AND new.status <> 'queued' BEGIN
    UPDATE queue SET queued = queued - 1
        WHERE workspace = old.workspace AND priority = old.priority AND block = old.turn >> {BLOCK_BITS};
    DELETE FROM queue WHERE workspace = old.workspace AND priority = old.priority
        AND block = old.turn >> {BLOCK_BITS} AND queued = 0;
END;
"""

# A task's end and its webhook are one statement, whatever ends it.
_OUTBOX = """
CREATE TABLE webhooks (
    task TEXT PRIMARY KEY,
    "end" INTEGER NOT NULL,
    workspace TEXT NOT NULL,
    tries INTEGER NOT NULL,
    due_at REAL NOT NULL,
    dead INTEGER NOT NULL    -- 1: given up
) WITHOUT ROWID;
CREATE INDEX webhooks_due ON webhooks (workspace, due_at) WHERE dead = 0;
CREATE TRIGGER webhook_ended AFTER UPDATE OF status ON tasks
    WHEN new.webhook <> '' AND new.ended_at IS NOT NULL AND old.ended_at IS NULL BEGIN
    INSERT OR REPLACE INTO webhooks VALUES (new.id, new.retries, new.workspace, 0, new.ended_at, 0);
END;
CREATE TRIGGER webhook_added AFTER INSERT ON tasks WHEN new.webhook <> '' AND new.ended_at IS NOT NULL BEGIN
    INSERT OR REPLACE INTO webhooks VALUES (new.id, new.retries, new.workspace, 0, new.ended_at, 0);
END;
CREATE TRIGGER webhook_retried AFTER UPDATE OF retries ON tasks WHEN new.webhook <> '' BEGIN
    DELETE FROM webhooks WHERE task = new.id;
END;
CREATE TRIGGER webhook_purged AFTER DELETE ON tasks WHEN old.webhook <> '' BEGIN
    DELETE FROM webhooks WHERE task = old.id;
END;

CREATE TABLE usage (
    workspace TEXT NOT NULL,
    period TEXT NOT NULL,    -- the window of a quota
    used INTEGER NOT NULL,
    PRIMARY KEY (workspace, period)
) WITHOUT ROWID;
"""

TABLES = _TASKS + _QUEUE + _OUTBOX + DOCUMENTS

UPGRADES = {
    2: "ALTER TABLE tasks ADD COLUMN checkpoint TEXT NOT NULL DEFAULT '';",
    3: DOCUMENTS,
    4: f"""
        ALTER TABLE tasks ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE tasks ADD COLUMN place REAL NOT NULL DEFAULT 0;
        ALTER TABLE tasks ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE tasks ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE tasks ADD COLUMN webhook TEXT NOT NULL DEFAULT '';
        ALTER TABLE tasks ADD COLUMN idempotency_key TEXT NOT NULL DEFAULT '';
        DROP TRIGGER queue_added;
        DROP TRIGGER queue_entered;
        DROP TRIGGER queue_left;
        DROP INDEX tasks_queued;
        DROP TABLE queue;
        UPDATE tasks SET turn = number, place = (SELECT min(submitted_at) FROM tasks WHERE ended_at IS NULL)
            WHERE ended_at IS NULL;
        {_QUEUE}
        INSERT INTO queue SELECT workspace, priority, turn >> {BLOCK_BITS}, count(*) FROM tasks
            WHERE status = 'queued' GROUP BY workspace, priority, turn >> {BLOCK_BITS};
        {_OUTBOX}
    """,
}
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


def examine_file(path: Path) -> Iterator[Finding]:
    """What would keep a start from using the file that is there; it is neither locked nor changed."""
    try:
        if path.exists():
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)) as db:
                _is_new(db, path)
    except (sqlite3.DatabaseError, ConfigError, OSError) as error:
        words = (
            str(error).partition("; ")[0]
            if isinstance(error, ConfigError)
            else f"{path} cannot be used as a task store: {error}"
        )
        yield Finding(Level.PROBLEM, "store", words, "move it away, restore a copy, or name another file")


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
