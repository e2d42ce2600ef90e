"""RemoteLock: one job at a time for a remote output folder, by a small object whose beat others can watch."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from dualface_ray.backends.storage.faults import Fault, StoreFault, again, output_fault
from dualface_ray.backends.storage.ports import Store
from dualface_ray.backends.storage.transfer import open_store
from dualface_ray.media import LOCK_NAME, Holder, busy, join_address, shown_address
from dualface_ray.settings import Settings

BEAT_S = 15.0
STALE_S = 60.0
"""A holder that misses three beats is dead, or cut off from the store and unable to write there anyway."""
_LOOK_S = 2.0
_SETTLE_S = 1.0
"""Between writing the lock and reading it back, where a store cannot create only what is not there."""


class RemoteLock:
    """The same for a remote folder as ``media.OutputLock`` for local ones; released when it stands still.

    Args:
        folder: address of the output folder.
        settings: of the job.
    """

    def __init__(self, folder: str, settings: Settings) -> None:
        self._folder = folder
        self._url = join_address(folder, LOCK_NAME)
        self._settings = settings
        self._token = secrets.token_hex(8)
        self._beats = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = ""
        """Set when another job has taken the folder over: then stop."""

    def take(self) -> None:
        """Take it.

        Raises:
            OutputBusyError: another job holds it.
            AddressError, OutputError: the folder cannot be reached or written.
        """
        store = open_store(self._folder, self._settings)
        try:
            before = self._read(store)
            if before and not _dead(before):
                self._watch(store, before)
            if self._write(store, fresh=not before):
                time.sleep(_SETTLE_S)
            # "there already" may be our own, written by an attempt whose answer was lost: the token tells
            found = self._read(store)
            if found.get("token") != self._token:
                raise busy(shown_address(self._folder), _holder(found))
        except StoreFault as fault:
            raise output_fault(fault, self._folder) from None
        self._thread = threading.Thread(target=self._beat, args=(store,), name="output-lock", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let go. Harmless when called twice."""
        self._ended.set()
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        store = open_store(self._folder, self._settings)
        try:
            if self._read(store).get("token") == self._token:
                store.remove(self._url)
        except StoreFault:
            return  # it stands still from now on, which says the same a minute later

    def _watch(self, store: Store, before: dict[str, Any]) -> None:
        deadline_s = time.monotonic() + STALE_S
        while time.monotonic() < deadline_s:
            time.sleep(_LOOK_S)
            found = self._read(store)
            if not found:
                return
            if found != before:
                raise busy(shown_address(self._folder), _holder(found))

    def _beat(self, store: Store) -> None:
        while not self.lost and not self._ended.wait(BEAT_S):
            with contextlib.suppress(StoreFault):  # a store that does not answer now may do so at the next beat
                if self._read(store).get("token") == self._token:
                    self._write(store)
                else:
                    self.lost = f"{shown_address(self._folder)}: another job has taken this folder over"

    def _read(self, store: Store) -> dict[str, Any]:
        """The object as it is; empty = there is none."""

        def read() -> bytes:
            try:
                return store.read(self._url, 0, 4096)
            except StoreFault as fault:
                if fault.kind is Fault.MISSING:
                    return b""
                raise

        content = self._again(read)
        try:
            found = json.loads(content) if content else {}
        except (ValueError, RecursionError):
            found = None
        return found if isinstance(found, dict) else {"nonsense": content.hex()}

    def _write(self, store: Store, *, fresh: bool = False) -> bool:
        self._beats += 1
        record = {**json.loads(Holder.here().to_json()), "token": self._token, "beats": self._beats}
        content = json.dumps(record).encode()
        return bool(self._again(partial(store.put_bytes, content, self._url, fresh=fresh)))

    def _again(self, call: Callable[[], Any]) -> Any:
        return again(call, min(3, self._settings.storage.attempts))


def _holder(found: dict[str, Any]) -> Holder | None:
    return Holder.parse(json.dumps(found).encode())


def _dead(found: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is gone, so that nobody needs to wait."""
    holder = _holder(found)
    return holder is not None and holder.on_this_machine and holder.gone
