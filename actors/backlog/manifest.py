"""Manifest: what became of each video and unit of an output folder, durable on the head's local disk.

    begin(tasks) ─► rows in memory ─► unit(...), video(...) ─► flush(): one transaction a turn ─► SQLite (WAL)
    the next driver ─► open ─► begin: attempts at videos that were under way carry on

The report beside a result says "done"; the manifest only says how often something was tried. So losing it costs
nothing but the count of attempts, and no fault of its file may stop a job.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dualface_ray.report import VideoState, VideoTask

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


@dataclass(frozen=True, slots=True)
class VideoRow:
    """One video; ``key`` is the path or URL of its report, which no other video of the folder shares."""

    key: str
    source: str
    fingerprint: str
    state: VideoState
    error: str = ""
    changed_s: float = 0.0
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class UnitRow:
    """One unit of a video: the whole of it (``part`` is empty), or a part such as ``survey`` or ``s003``."""

    video: str
    part: str
    work: str
    state: VideoState
    attempts: int
    lane: str = ""
    node: str = ""
    began_s: float = 0.0
    ended_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ManifestRows:
    """Everything a manifest knows."""

    videos: tuple[VideoRow, ...]
    units: tuple[UnitRow, ...]


class Manifest:
    """Counts attempts across drivers; one writer, used by one thread at a time.

    A file that is damaged, of another program or of a newer version is set aside; a folder that cannot be written, or
    a file that another driver still holds, leaves the job without a durable manifest. Both are said in ``notes``.
    """

    def __init__(self, database: sqlite3.Connection | None, notes: Sequence[str] = ()) -> None:
        self._database = database
        self._notes = list(notes)
        self._videos: dict[str, VideoRow] = {}
        self._units: dict[tuple[str, str], UnitRow] = {}
        self._keys: dict[str, str] = {}
        """Of the videos of this job, by stream."""
        self._changed_videos: set[str] = set()
        self._changed_units: set[tuple[str, str]] = set()
        self._gone: set[str] = set()

    @classmethod
    def open(cls, path: Path, outputs_key: str) -> Manifest:
        """Open the manifest of an output folder, or begin one. Never raises for what it finds there.

        Args:
            path: see ``manifest_path``.
            outputs_key: the output folder, without passwords; a file that names another one is foreign.
        """
        notes: list[str] = []
        for _ in range(2):
            database = None
            try:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                _remove_old(path)
                database = _connect(path, outputs_key)
                manifest = cls(database, notes)
                manifest._load()
                return manifest
            except (sqlite3.DatabaseError, _ForeignError, ValueError) as error:
                if database is not None:
                    database.close()
                if isinstance(error, sqlite3.OperationalError) and not _damaged(error):
                    return cls(None, [*notes, _without(path, str(error))])
                try:
                    aside = _set_aside(path)
                except OSError as other:
                    return cls(None, [*notes, _without(path, other.strerror or str(other))])
                notes.append(f"{path}: not a manifest of this folder ({error}); set aside as {aside.name}")
            except OSError as error:
                return cls(None, [*notes, _without(path, error.strerror or str(error))])
        return cls(None, notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the file, one line each."""
        return tuple(self._notes)

    def begin(self, tasks: Sequence[VideoTask]) -> None:
        """Take in the videos of a job; call it before ``unit`` and ``video``.

        Attempts carry on for videos that were not finished when the last driver died, if input and settings are the
        same. Videos that had ended get a fresh start. What is known of videos outside this job is kept while it is
        unfinished.
        """
        now_s = time.time()
        for task in tasks:
            key = task.outputs.targets[-1]
            self._keys[task.stream_id] = key
            known = self._videos.get(key)
            under_way = known is not None and known.fingerprint == task.fingerprint and not known.state.final
            if not under_way or task.state.final:
                self._forget_units(key)
            error = str(task.error) if task.error else ""
            self._put_video(VideoRow(key, task.shown, task.fingerprint, task.state, error, now_s))
        wanted = set(self._keys.values())
        for key in [key for key, row in self._videos.items() if row.state.final and key not in wanted]:
            self._forget_units(key)
            del self._videos[key]
            self._changed_videos.discard(key)
            self._gone.add(key)
        self.flush()

    def unit(  # the columns of a row
        self,
        unit_id: str,
        video: str,
        work: str,
        state: VideoState,
        attempts: int,
        lane: str = "",
        node: str = "",
    ) -> None:
        """Note how a unit stands; written with the next ``flush``.

        Args:
            unit_id: stream id of the unit: its video's, or that with a part behind it (``v00001-s003``).
            video: stream id of its video.
            work: what kind of unit (``Work``).
            state: RUNNING from the moment it is handed to a lane.
            attempts: begun so far, this one included.
            lane: who has it.
            node: where that is.
        """
        key = self._keys[video]
        place = (key, _part(unit_id, video))
        now_s = time.time()
        before = self._units.get(place)
        fresh = before is None or attempts != before.attempts
        began_s = now_s if fresh or before is None else before.began_s
        row = UnitRow(key, place[1], str(work), state, attempts, lane, node, began_s, now_s if state.final else 0.0)
        if before is None or replace(row, ended_s=before.ended_s) != before:
            self._units[place] = row
            self._changed_units.add(place)

    def video(self, stream_id: str, state: VideoState, error: str = "") -> None:
        """Note how a video stands; written with the next ``flush``."""
        row = self._videos[self._keys[stream_id]]
        if (row.state, row.error) != (state, error):
            self._put_video(replace(row, state=state, error=error, changed_s=time.time()))

    def attempts(self, unit_id: str) -> int:
        """Attempts begun at this unit so far, those of a driver that died included."""
        stream_id, _, part = unit_id.partition("-")
        row = self._units.get((self._keys.get(stream_id, ""), part))
        return 0 if row is None else row.attempts

    def rows(self) -> ManifestRows:
        """Everything it knows, sorted."""
        return ManifestRows(
            tuple(row for _, row in sorted(self._videos.items())),
            tuple(row for _, row in sorted(self._units.items())),
        )

    def flush(self) -> None:
        """Make what was noted durable, in one transaction; a call with nothing to write costs nothing."""
        if not (self._changed_videos or self._changed_units or self._gone):
            return
        videos = [self._videos[key] for key in self._changed_videos]
        units = [self._units[place] for place in self._changed_units]
        gone = [(key,) for key in self._gone]
        self._changed_videos.clear()
        self._changed_units.clear()
        self._gone.clear()
        if self._database is None:
            return
        try:
            with self._database as database:
                database.execute("BEGIN IMMEDIATE")
                database.executemany("DELETE FROM unit WHERE video = ?", gone)
                database.executemany("DELETE FROM video WHERE key = ?", gone)
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
        except sqlite3.Error as error:
            self._notes.append(f"attempts are no longer written down ({error}); the job goes on")
            self.close()

    def close(self) -> None:
        """Write what is left and let go of the file. Harmless when called twice."""
        database, self._database = self._database, None
        if database is None:
            return
        if self._changed_videos or self._changed_units or self._gone:
            self._database = database
            self.flush()
            self._database = None
        with contextlib.suppress(sqlite3.Error):
            database.close()

    # --- inside ---------------------------------------------------------------------------------------------------
    def _load(self) -> None:
        """Read every row; touching all pages is also what finds damage.

        Raises:
            sqlite3.DatabaseError, ValueError: the file is damaged.
        """
        if self._database is None:
            return
        for key, source, mark, state, error, changed_s in self._database.execute("SELECT * FROM video"):
            self._videos[str(key)] = VideoRow(
                str(key), str(source), str(mark), VideoState(state), str(error), float(changed_s)
            )
        for video, part, work, state, attempts, lane, node, began_s, ended_s in self._database.execute(
            "SELECT * FROM unit"
        ):
            self._units[str(video), str(part)] = UnitRow(
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

    def _put_video(self, row: VideoRow) -> None:
        self._videos[row.key] = row
        self._changed_videos.add(row.key)

    def _forget_units(self, key: str) -> None:
        places = [place for place in self._units if place[0] == key]
        for place in places:
            del self._units[place]
            self._changed_units.discard(place)
        if places:
            self._gone.add(key)


def manifest_path(outputs_key: str) -> Path:
    """Where the manifest of an output folder lies: ``$XDG_STATE_HOME`` or ``~/.local/state``, on this machine."""
    home = os.environ.get("XDG_STATE_HOME", "")
    state = Path(home) if Path(home).is_absolute() else Path("~/.local/state").expanduser()
    name = hashlib.sha256(outputs_key.encode(errors="surrogateescape")).hexdigest()[:20]
    return state / "dualface_ray" / "jobs" / f"{name}.sqlite"


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


def _part(unit_id: str, video: str) -> str:
    return unit_id[len(video) :].removeprefix("-")


def _without(path: Path, reason: str) -> str:
    return f"{path}: attempts are not written down ({reason}); the job runs all the same"
