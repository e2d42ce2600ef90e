"""The commands below ``dualface models``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dualface_ray.cli.faults import guarded
from dualface_ray.cli.options import Config, Json, PrecisionName, Sets, finish

models_app = typer.Typer(
    name="models", help="The models: what there is, fetching and building it.", no_args_is_help=True
)


@models_app.command("list")
def models_list(as_json: Json = False) -> None:
    """Show the models, their licences and whether they are here."""
    from dualface_ray.cli.models import list_all

    finish(guarded(lambda: list_all(as_json=as_json), as_json=as_json))


@models_app.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Default: all of them.")] = None,
) -> None:
    """Fetch models into the cache and check them."""
    from dualface_ray.cli.models import pull_some

    finish(guarded(lambda: pull_some(names or [])))


@models_app.command("build", short_help="Build the engines for this machine's card; takes minutes.")
def models_build(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Default: those of the settings.")] = None,
    precision: Annotated[
        PrecisionName | None, typer.Option("--precision", metavar="NAME", help="Of the detector: fp16, fp32 or int8.")
    ] = None,
    clips: Annotated[
        list[Path] | None, typer.Option("--clips", metavar="FILE", help="int8: calibrate on these videos; repeatable.")
    ] = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Build the engines for this machine's card, which takes minutes, before a job needs them.

    The detector's are those that lanes on this card are planned with, for few videos or many, up to 4K.

    int8 is made from the --clips, and refused when it loses more than detect.max_ap_loss against fp32.
    """
    from dualface_ray.cli.models import Wanted, build_some

    wanted = Wanted(
        tuple(names or ()), precision.value if precision else "", tuple(clips or ()), config, tuple(sets or ())
    )
    finish(guarded(lambda: build_some(wanted, as_json=as_json), as_json=as_json))
