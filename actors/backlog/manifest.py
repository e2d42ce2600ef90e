"""Manifest: what became of each video and unit of an output folder, durable on the head's local disk.

    begin(tasks) ─► rows in memory ─► unit(...), video(...) ─► flush(): one transaction a turn ─► RowFile
    the next driver ─► open ─► begin: attempts at videos that were under way carry on

The report beside a result says "done"; the manifest only says how often something was tried. So losing it costs
nothing but the count of attempts, and no fault of its file may stop a job.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from actors.backlog.rowfile import RowFile, open_rows
from actors.backlog.rows import ManifestRows, UnitRow, VideoRow
from dualface_ray.report import VideoState, VideoTask


class Manifest:
    """Counts attempts across drivers; one writer, used by one thread at a time.

    A file that is damaged, of another program or of a newer version is set aside; a folder that cannot be written, or
    a file that another driver still holds, leaves the job without a durable manifest. Both are said in ``notes``.
    """

    def __init__(self, file: RowFile | None, notes: Sequence[str] = ()) -> None:
        self._file = file
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
        file, rows, notes = open_rows(path, outputs_key)
        manifest = cls(file, notes)
        manifest._videos = {row.key: row for row in rows.videos}
        manifest._units = {(row.video, row.part): row for row in rows.units}
        return manifest

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
        gone = list(self._gone)
        self._changed_videos.clear()
        self._changed_units.clear()
        self._gone.clear()
        if self._file is None:
            return
        try:
            self._file.write(videos, units, gone)
        except sqlite3.Error as error:
            self._notes.append(f"attempts are no longer written down ({error}); the job goes on")
            self.close()

    def close(self) -> None:
        """Write what is left and let go of the file. Harmless when called twice."""
        if self._file is not None:
            self.flush()
        file, self._file = self._file, None
        if file is not None:
            file.close()

    # --- inside ---------------------------------------------------------------------------------------------------
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


def _part(unit_id: str, video: str) -> str:
    return unit_id[len(video) :].removeprefix("-")
