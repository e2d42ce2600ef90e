"""Options that several commands share, and how a command ends."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class LayoutName(str, Enum):
    """The layouts of ``framing.layout``, as choices of an option."""

    SIDE_BY_SIDE = "side_by_side"
    STACKED = "stacked"
    SEPARATE = "separate"


class PrecisionName(str, Enum):
    """The precisions of ``detect.precision``, as choices of an option."""

    FP16 = "fp16"
    FP32 = "fp32"
    INT8 = "int8"


Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings file (YAML).")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one setting; repeatable.")]
LayoutOption = Annotated[
    LayoutName | None, typer.Option("--layout", metavar="NAME", help="side_by_side (the default), stacked or separate.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results of other settings.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line on standard output, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no table; errors still show.")]
Address = Annotated[str | None, typer.Option("--address", metavar="A", help="Which Ray; default: a private one.")]


def finish(code: int) -> None:
    """Leave with this exit code."""
    raise typer.Exit(code)
