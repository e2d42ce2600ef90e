"""What ``python tests/gpu_check`` starts: finds the project, wherever it is called from."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# Python has put this very folder first. Its modules are parts of gpu_check, and pools look for their functions there.
others = [entry for entry in sys.path if Path(entry).resolve() != FOLDER]
sys.path[:] = [str(FOLDER.parent.parent), str(FOLDER.parent), *others]

if __name__ == "__main__":
    from gpu_check.runner import main

    sys.exit(main())
