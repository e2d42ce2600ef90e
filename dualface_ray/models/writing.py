"""Files of the caches: complete under their name, or not there at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_complete(path: Path, data: bytes) -> None:
    """Write a private file in the same folder, flush it to the disk and give it its name, readable by all.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
