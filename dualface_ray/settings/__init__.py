"""Settings: what the user decides, checked before anything starts.

    default.yaml ─► file ─► --set key=value ─► keywords ──► resolve ──► Settings (frozen, complete)
                                                                └─ SettingsError: one line, the key, the remedy

Units live in the field names; unknown keys are errors. This room may not know frames, media or hardware: parsing a
settings file needs neither a GPU nor its libraries.
"""

from __future__ import annotations

from dualface_ray.settings.framing import Layout
from dualface_ray.settings.load import config_dir, resolve
from dualface_ray.settings.root import Settings

__all__ = ["Layout", "Settings", "config_dir", "resolve"]
