"""The cluster's token, found where Ray looks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dualface_ray.errors import RequestError


def token_headers(env: Mapping[str, str]) -> dict[str, str]:
    """The HTTP headers that carry the token; none when there is no token or ``RAY_AUTH_MODE`` says disabled.

    The order is Ray's own: ``RAY_AUTH_TOKEN``, then the file ``RAY_AUTH_TOKEN_PATH``, then ``~/.ray/auth_token``.

    Raises:
        RequestError: the file that ``RAY_AUTH_TOKEN_PATH`` names cannot be read or is empty.
    """
    if env.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return {}
    token = env.get("RAY_AUTH_TOKEN", "").strip()
    named = env.get("RAY_AUTH_TOKEN_PATH", "")
    if not token and named:
        token = _read(Path(named))
        if not token:
            raise RequestError("no token can be read from this file", where=f"RAY_AUTH_TOKEN_PATH={named}")
    if not token:
        token = _read(Path(env["HOME"] if env.get("HOME") else Path.home()) / ".ray" / "auth_token")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
