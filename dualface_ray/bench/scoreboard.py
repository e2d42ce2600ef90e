"""The table of the identity benchmark: a row per scene, ours beside the peers'."""

from __future__ import annotations

import dataclasses
import json
import statistics
from dataclasses import dataclass

from dualface_ray.bench.scoring import Identities, SceneScore
from dualface_ray.bench.showing import Showing


@dataclass(frozen=True, slots=True)
class SceneResult:
    """One scene and seed: our figures, and those of each peer that can run here."""

    scene: str
    seed: int
    ours: SceneScore
    others: dict[str, Identities]


@dataclass(frozen=True, slots=True)
class IdentityBench:
    """The whole table."""

    split: str
    results: tuple[SceneResult, ...]

    @property
    def mean_idf1(self) -> float:
        """Over all scenes and seeds."""
        return statistics.mean(r.ours.idf1 for r in self.results)

    @property
    def worst_idf1(self) -> float:
        """Of the worst scene."""
        return min(r.ours.idf1 for r in self.results)

    def header(self) -> list[str]:
        """Names of the columns of ``rows``."""
        names = sorted({name for r in self.results for name in r.others})
        ours = ["scene", "seed", "IDF1", "switches", "wrong", "missed %", "A first", "doubt %", "inside %", "other"]
        return [*ours, "centre", "jitter", "det/s", "embeds", "us/frame", *(f"{name} IDF1/sw" for name in names)]

    def rows(self) -> list[list[str]]:
        """One row per scene and seed, then all of them: means, sums of counts, the largest jitter."""
        names = sorted({name for r in self.results for name in r.others})
        rows = [
            [r.scene, str(r.seed), *_cells(r.ours), *(_peer(r.others.get(name)) for name in names)]
            for r in self.results
        ]
        total = SceneScore(
            self.mean_idf1,
            sum(r.ours.switches for r in self.results),
            sum(r.ours.wrong_frames for r in self.results),
            statistics.mean(r.ours.missed_share for r in self.results),
            all(r.ours.in_order for r in self.results),
            statistics.mean(r.ours.doubtful_share for r in self.results),
            Showing(
                statistics.mean(r.ours.tiles.inside_share for r in self.results),
                sum(r.ours.tiles.other_frames for r in self.results),
                statistics.mean(r.ours.tiles.centre_error for r in self.results),
                max(r.ours.tiles.jitter_p95 for r in self.results),
            ),
            statistics.mean(r.ours.detect_hz for r in self.results),
            sum(r.ours.embeds for r in self.results),
            statistics.mean(r.ours.director_us for r in self.results),
        )
        means = []
        for name in names:
            known = [r.others[name] for r in self.results if name in r.others]
            idf1, switches = (statistics.mean(v) for v in zip(*((k.idf1, k.switches) for k in known), strict=True))
            means.append(f"{idf1:.3f}/{switches:.1f}")
        return [*rows, ["all", "", *_cells(total), *means]]

    def text(self) -> str:
        """The table with aligned columns."""
        table = [self.header(), *self.rows()]
        widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
        lines = [
            "  ".join(
                cell.rjust(w) if k else cell.ljust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in table
        ]
        return "\n".join(line.rstrip() for line in lines) + "\n"

    def to_json(self) -> bytes:
        """All figures as JSON."""
        plain = {"split": self.split, "results": [dataclasses.asdict(r) for r in self.results]}
        return json.dumps(plain, indent=1).encode() + b"\n"


def _cells(s: SceneScore) -> list[str]:
    return [
        f"{s.idf1:.4f}", str(s.switches), str(s.wrong_frames), f"{100 * s.missed_share:.2f}",
        "yes" if s.in_order else "no", f"{100 * s.doubtful_share:.1f}", f"{100 * s.tiles.inside_share:.2f}",
        str(s.tiles.other_frames), f"{s.tiles.centre_error:.3f}", f"{s.tiles.jitter_p95:.3f}", f"{s.detect_hz:.1f}",
        str(s.embeds), f"{s.director_us:.0f}",
    ]  # fmt: skip


def _peer(result: Identities | None) -> str:
    return "-" if result is None else f"{result.idf1:.3f}/{result.switches}"
