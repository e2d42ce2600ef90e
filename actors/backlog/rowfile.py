"""RowFile: a manifest's rows, durable in SQLite on a local disk; one writer.

open_rows ─► ours? ─┬─ yes, or new ─► RowFile, its rows
                    ├─ damaged, of another program or version ─► set aside, begun anew, with a note
                    └─ held by another driver, nowhere to write ─► none, with a note
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from actors.backlog.rows import ManifestRows, UnitRow, VideoRow
from dualface_ray.report import VideoState

SCHEMA = 1
APPLICATION_ID = 0x4446_524D
"""Marks the file as ours ("DFRM"), in the place that SQLite keeps for this."""
BUSY_TIMEOUT_S = 2.0
"""How long opening waits for a dying driver to let go; the output lock has kept living ones away before."""
KEPT_S = 60 * 24 * 3600.0
"""Manifests of folders that no job has written to for this long are removed."""
_ASIDE = ".set-aside"

_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE video (
  key TEXT PRIMARY KEY, source TEXT NOT NULL, fingerprint TEXT NOT NULL, state TEXT NOT NULL,
  error TEXT NOT NULL, changed_s REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE unit (
  video TEXT NOT NULL, part TEXT NOT NULL, work TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
  lane TEXT NOT NULL, node TEXT NOT NULL, began_s REAL NOT NULL, ended_s REAL NOT NULL,
  PRIMARY KEY (video, part)
) WITHOUT ROWID;
"""


class RowFile:
    """An open file of rows that is known to be ours (see ``open_rows``)."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def read(self) -> ManifestRows:
        """Read every row; touching all pages is also what finds damage.

        Raises:
            sqlite3.DatabaseError, ValueError: the file is damaged.
        """
        videos = [
            VideoRow(str(key), str(source), str(mark), VideoState(state), str(error), float(changed_s))
            for key, source, mark, state, error, changed_s in self._database.execute("SELECT * FROM video")
        ]
        units = [
            UnitRow(
                str(video),
                str(part),
                str(work),
                VideoState(state),
                int(attempts),
                str(lane),
                str(node),
                float(began_s),
                float(ended_s),
            )
            for video, part, work, state, attempts, lane, node, began_s, ended_s in self._database.execute(
                "SELECT * FROM unit"
            )
        ]
        return ManifestRows(tuple(videos), tuple(units))

    def write(self, videos: Iterable[VideoRow], units: Iterable[UnitRow], gone: Iterable[str]) -> None:
        """Write rows in one transaction, after all rows of the videos that are ``gone`` (their keys) were removed.

        Raises:
            sqlite3.Error: they cannot be written.
        """
        keys = [(key,) for key in gone]
        with self._database as database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("DELETE FROM unit WHERE video = ?", keys)
            database.executemany("DELETE FROM video WHERE key = ?", keys)
            database.executemany(
                "REPLACE INTO video VALUES (?, ?, ?, ?, ?, ?)",
                [(r.key, r.source, r.fingerprint, r.state.value, r.error, r.changed_s) for r in videos],
            )
            database.executemany(
                "REPLACE INTO unit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (r.video, r.part, r.work, r.state.value, r.attempts, r.lane, r.node, r.began_s, r.ended_s)
                    for r in units
                ],
            )

    def close(self) -> None:
        """Let go of the file. Harmless when called twice."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()


def open_rows(path: Path, outputs_key: str) -> tuple[RowFile | None, ManifestRows, list[str]]:
    """Open a manifest's file, or begin one. Never raises for what it finds there.

    Args:
        path: of the file.
        outputs_key: the output folder, without passwords; a file that names another one is foreign.

    Returns:
        The file, unless there can be none; its rows; what the user should know about it, one line each.
    """
    notes: list[str] = []
    for _ in range(2):
        file = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _remove_old(path)
            file = RowFile(_connect(path, outputs_key))
            return file, file.read(), notes
        except (sqlite3.DatabaseError, _ForeignError, ValueError) as error:
            if file is not None:
                file.close()
            if isinstance(error, sqlite3.OperationalError) and not _damaged(error):
                return None, ManifestRows(), [*notes, _without(path, str(error))]
            try:
                aside = _set_aside(path)
            except OSError as other:
                return None, ManifestRows(), [*notes, _without(path, other.strerror or str(other))]
            notes.append(f"{path}: not a manifest of this folder ({error}); set aside as {aside.name}")
        except OSError as error:
            return None, ManifestRows(), [*notes, _without(path, error.strerror or str(error))]
    return None, ManifestRows(), notes


class _ForeignError(Exception):
    """The file is a database, but not this manifest."""


def _connect(path: Path, outputs_key: str) -> sqlite3.Connection:
    """Open or create the file and make sure that it is ours."""
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        # Exclusive before WAL: no shared-memory index, so it works on a network home too, and a second writer is told.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA trusted_schema = OFF")
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (schema,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not tables and application in (0, APPLICATION_ID):
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            _create(database, outputs_key)
            return database
        if application != APPLICATION_ID:
            raise _ForeignError("of another program")
        if schema != SCHEMA:
            raise _ForeignError(f"schema {schema}, this version reads {SCHEMA}")
        found = dict(database.execute("SELECT name, value FROM about").fetchall())
        if found.get("outputs") != outputs_key:
            raise _ForeignError("of another output folder")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("BEGIN IMMEDIATE")  # takes the lock now, rather than in the middle of the job
        database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def _create(database: sqlite3.Connection, outputs_key: str) -> None:
    """All tables and marks in one transaction: a file without tables is one that was never finished."""
    database.execute("BEGIN IMMEDIATE")
    for statement in _TABLES.split(";"):
        if statement.strip():
            database.execute(statement)
    database.execute("INSERT INTO about VALUES ('outputs', ?)", (outputs_key,))
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {SCHEMA}")
    database.execute("COMMIT")


def _damaged(error: sqlite3.OperationalError) -> bool:
    """Missing tables or columns, in words; what is left (locked, full, read-only) is no fault of the content."""
    return "no such" in str(error) or "malformed" in str(error)


def _set_aside(path: Path) -> Path:
    """Keep a file that cannot be used under another name; an older one of that name goes."""
    aside = path.with_name(path.name + _ASIDE)
    path.replace(aside)
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside


def _remove_old(path: Path) -> None:
    """Remove manifests that nobody has touched for long."""
    limit_s = time.time() - KEPT_S
    with os.scandir(path.parent) as entries:
        for entry in entries:
            known = entry.name.endswith((".sqlite", ".sqlite-wal", ".sqlite-shm", f".sqlite{_ASIDE}"))
            with contextlib.suppress(OSError):
                if known and entry.stat(follow_symlinks=False).st_mtime < limit_s and entry.name != path.name:
                    os.unlink(entry.path)  # noqa: PTH108 - a string from scandir


def _without(path: Path, reason: str) -> str:
    return f"{path}: attempts are not written down ({reason}); the job runs all the same"
