"""The commands that look at the machine: what they find and write down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gpu_check.steps import ROOT, need, say, step


@step(300)
def probe(work: Path) -> None:
    """`dualface probe --verify` and `dualface doctor`: what they find, and a profile that reads back."""
    import json

    from dualface_ray.hardware import read_profile

    def dualface(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dualface_ray", *words]
        return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)

    path = work / "probed.yaml"
    done = dualface("probe", "--verify", "--json", "--output", str(path), "--scratch", str(work))
    say("probe ended with", done.returncode, done.stderr.strip())
    need(done.returncode in (0, 1), "a card was probed")
    facts = json.loads(done.stdout)
    say("driver", facts["driver"]["driver"], "CUDA", facts["driver"]["cuda"])
    for part in facts["cards"]:
        say(part["card"])
        for limit in [*part["decoding"]["limits"], *part["encoding"]["limits"]]:
            say(limit)
        say("engines", part["decoding"]["engines"], part["encoding"]["engines"], "sessions", part["sessions"])
    say(facts["libraries"]["versions"])
    say(facts["disks"])
    for row in facts["verify"]["rows"]:
        say(row)
    need(done.returncode == (0 if facts["verify"]["confirmed"] else 1), "the exit code says what the table says")
    need((read_profile(path).verified is not None) == facts["verify"]["confirmed"], "verified means confirmed")
    for line in dualface("doctor").stdout.splitlines():
        say(line)
