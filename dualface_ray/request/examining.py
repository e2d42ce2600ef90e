"""Examining: whether an input can be opened, what it is, and what tells it apart from others."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

from dualface_ray.backends.pyav import MediaProbe, probe
from dualface_ray.backends.storage import (
    RemoteReader,
    ScratchStore,
    StoreFault,
    examine,
    input_fault,
    open_store,
    scratch_input,
    scratch_root,
)
from dualface_ray.errors import DualfaceError
from dualface_ray.media import address_parts, check_input, shown_address
from dualface_ray.report import fingerprint
from dualface_ray.settings import Settings

_EDGE_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Found:
    """One input that can be opened."""

    probe: MediaProbe
    fingerprint: str
    source: Path
    origin: str = ""
    identity: str = ""


def examine_local(source: Path, settings: Settings) -> Found:
    """Examine a file by opening it.

    Raises:
        DualfaceError: it is refused or cannot be opened.
    """
    check_input(source, allow_symlinks=settings.input.allow_symlinks)
    found = probe(source, settings)
    return Found(found, fingerprint(source, settings), source)


def examine_remote(url: str, settings: Settings, stop: threading.Event) -> Found:
    """Examine a remote file by reading parts of it.

    A server that gives none has to send all of it, here and later to a lane.

    Raises:
        DualfaceError: it is refused, cannot be opened, or its server does not answer.
    """
    there = examine(url, settings)
    name = address_parts(url)[-1]
    place = scratch_input(scratch_root(settings), url, there.identity, name)
    try:
        if there.ranges:
            reader = RemoteReader(open_store(url, settings), there, name, settings)
            found = probe(place, settings, shown_address(url), content=reader, size_bytes=there.size_bytes)
            content = f"{there.size_bytes}\n{there.identity or _edges(reader, there.size_bytes)}"
            mark = fingerprint(place, settings, content=hashlib.sha256(content.encode()).hexdigest())
            return Found(found, mark, place, url, there.identity)
        with ScratchStore(settings).using(url, place, there.identity, stop):
            found = probe(place, settings, shown_address(url))
            return Found(found, fingerprint(place, settings), place, url, there.identity)
    except StoreFault as fault:
        raise input_fault(fault, url) from None
    except DualfaceError as error:
        raise error.renamed(str(place), shown_address(url)) from None


def _edges(reader: RemoteReader, size_bytes: int) -> str:
    """Of a file whose place says nothing that changes with the content: its beginning and its end."""
    digest = hashlib.sha256()
    for start in (0, max(0, size_bytes - _EDGE_BYTES)):
        reader.seek(start)
        left = _EDGE_BYTES
        while left and (piece := reader.read(left)):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()
