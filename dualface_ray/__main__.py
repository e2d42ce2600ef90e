"""``python -m dualface_ray`` is ``dualface``."""

from __future__ import annotations

from dualface_ray.cli import main

if __name__ == "__main__":
    main()
