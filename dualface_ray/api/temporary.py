"""Temporary: whether a private Ray can keep its sockets where temporary files go.

RAY_TMPDIR, else TMPDIR, else /tmp ─► ray/session_<when>_<process>/sockets/plasma_store: text, short, writable?

Ray finds out itself, but late and in words about its own files.
"""

from __future__ import annotations

import os
from pathlib import Path

from dualface_ray.errors import ResourceError

MAX_SOCKET_BYTES = 107
"""Of the path of a socket; the kernel's sockaddr_un has 108, the last one 0."""
_WHEN = "2000-01-01_00-00-00_000000"


def check_temporary() -> None:
    """Refuse a folder for temporary files in which Ray cannot start; makes it where it is missing, as Ray does.

    Raises:
        ResourceError: its name is not UTF-8, too long or relative, or nothing can be written there.
    """
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "")
    root = os.environ[name] if name else "/tmp"  # noqa: S108 - Ray's own choice
    where = f"{name}={_shown(root)}" if name else root
    remedy = f"Set {name or 'TMPDIR'} to a short path of a folder that you may write to, such as /tmp."
    sockets = Path(root, "ray", f"session_{_WHEN}_{os.getpid()}", "sockets", "plasma_store")
    size = len(os.fsencode(sockets))
    if size > MAX_SOCKET_BYTES:
        longest = MAX_SOCKET_BYTES - size + len(os.fsencode(root))
        what = f"Ray's sockets cannot lie there: at most {longest} bytes may be the folder's"
        raise ResourceError(what, where=where, remedy=remedy)
    try:
        root.encode()
    except UnicodeEncodeError:
        raise ResourceError("Ray cannot start there: the name is not UTF-8", where=where, remedy=remedy) from None
    if not Path(root).is_absolute():
        raise ResourceError("Ray cannot start there: the path is relative", where=where, remedy=remedy)
    folder = Path(root, "ray")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else "Permission denied"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise ResourceError(f"Ray cannot write to {folder} ({reason})", where=where, remedy=remedy)


def _shown(path: str) -> str:
    text = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return text if len(text) <= 200 else f"{text[:100]}…{text[-40:]}"
