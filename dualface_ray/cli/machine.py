"""``dualface probe``: what this machine has, compared with a profile or written as one. Nothing else probes."""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualface_ray.cli.machine_text import card_lines, disk_line, library_lines, machine_lines, node_options, row_lines
from dualface_ray.cli.text import shown
from dualface_ray.errors import ProfileError, RequestError
from dualface_ray.hardware import (
    CardFacts,
    CardProbe,
    DiskFacts,
    DriverFacts,
    LibraryFacts,
    Profile,
    Row,
    compare,
    compare_cpu,
    confirmed,
    cores,
    measured_cpu_profile,
    measured_profile,
    memory,
    node_labels,
    plain,
    probe_card,
    probe_disk,
    probe_driver,
    probe_libraries,
    profile_for,
    profile_named,
    profile_text,
    read_profile,
    shared_memory,
    visible,
)
from dualface_ray.media import write_atomic


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """What the command line asked for."""

    name: str = ""
    """Profile to compare with or to take figures from; empty = the card's own."""
    verify: bool = False
    input: Path | None = None
    scratch: Path | None = None
    output: Path | None = None
    card: int | None = None


@dataclass(slots=True)
class _Found:
    """All that came out, as it comes."""

    driver: DriverFacts
    cards: list[tuple[CardProbe, Profile | None]] = field(default_factory=list)
    libraries: LibraryFacts | None = None
    disks: dict[str, DiskFacts] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    written: str = ""
    node: dict[str, Any] = field(default_factory=dict)
    """What Ray is to be told of a node with such cards; empty where nothing is sure."""


def probe_machine(request: ProbeRequest, *, as_json: bool = False) -> int:
    """Print what was found; write a profile and compare with one where asked.

    Returns:
        0, or 1 when a figure of the profile differs or could not be confirmed.

    Raises:
        RequestError: the request cannot be carried out; nothing was probed then.
    """
    base = profile_named(request.name)
    if request.output is not None:
        _check_output(request.output)
    found = _Found(probe_driver())
    show = _silent if as_json else _print
    show(machine_lines(found.driver))
    _probe(request, base, found, show)
    if request.verify or request.output is not None:
        _conclude(request, base, found)
    if as_json:
        sys.stdout.write(json.dumps(_document(found, request)) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in row_lines(found.rows))
        if found.written:
            _print([("profile", f"written to {found.written}")])
        if found.node:
            _print([("node", node_options(found.node))])
    return 1 if request.verify and not confirmed(found.rows) else 0


def _probe(request: ProbeRequest, base: Profile | None, found: _Found, show: Any) -> None:
    cards = visible(found.driver.cards)
    for card in chosen_cards(cards, request):
        profile = base or profile_for(card.name)
        version = found.driver.driver if isinstance(found.driver.driver, str) else ""
        machine_wide = profile is None or profile.encode.cap_scope == "machine"
        one = probe_card(
            card,
            profile,
            verify=request.verify,
            count_sessions=True,
            driver=version,
            others=found.driver.cards if machine_wide else (),
        )
        found.cards.append((one, profile))
        show(card_lines(one, profile))
    if cards:
        found.libraries = probe_libraries()
        show(library_lines(found.libraries))
    for name, folder in (("input", request.input), ("scratch", request.scratch)):
        if folder is not None:
            found.disks[name] = probe_disk(folder, scratch=name == "scratch")
            show([(name, disk_line(found.disks[name]))])


def chosen_cards(cards: Sequence[CardFacts], request: ProbeRequest) -> list[CardFacts]:
    """The first card of each kind, or the one that was asked for.

    Raises:
        RequestError: there is no such card, or there are several kinds and one profile is to be made.
    """
    remedy = "Choose one with --card N, the number that nvidia-smi shows."
    if request.card is not None:
        picked = [card for card in cards if card.index == request.card]
        if not picked:
            have = ", ".join(str(card.index) for card in cards) or "none"
            raise RequestError(f"there is no card {request.card}", where="--card", remedy=f"Visible are: {have}.")
        cards, remedy = picked, "Choose an instance: CUDA_VISIBLE_DEVICES=MIG-…, the name that nvidia-smi -L shows."
    kinds: dict[str, CardFacts] = {}
    for card in cards:
        kinds.setdefault(card.name, card)
    if len(kinds) > 1 and (request.verify or request.output is not None):
        raise RequestError(
            f"there are several kinds of card: {', '.join(kinds)}", where="dualface probe", remedy=remedy
        )
    return list(kinds.values())


def _conclude(request: ProbeRequest, base: Profile | None, found: _Found) -> None:
    """Compare, and write the profile."""
    today = datetime.datetime.now(datetime.timezone.utc).date()
    made: Profile
    if base is not None and base.kind == "cpu":
        found.rows = compare_cpu(base, cores(), len(found.driver.cards))
        made = measured_cpu_profile(base, cores(), today, verified=request.verify and confirmed(found.rows))
    elif not found.cards:
        why = found.driver.error or "none is visible"
        remedy = "Run `dualface doctor`, or name the profile `cpu` for a machine that has none."
        raise ProfileError(f"no card can be probed ({why})", where="dualface probe", remedy=remedy)
    else:
        probe, profile = found.cards[0]
        if request.verify:
            against = profile
            if against is None and request.output is not None:  # nothing is known of its kind: it has what is found
                against = measured_profile(None, probe, found.driver, today, verified=False)
            if against is None:
                remedy = "Write one with `dualface probe --verify --output FILE.yaml`, or name one to compare with."
                raise ProfileError("there is no profile for this card", where=probe.card.name, remedy=remedy)
            found.rows = compare(against, probe, found.driver)
        verified = request.verify and confirmed(found.rows)
        made = measured_profile(profile, probe, found.driver, today, verified=verified)
        if verified or request.output is not None:
            found.node = _node(made, found)
    if request.output is not None:
        text = profile_text(made, f"Written by `dualface probe` on {platform.node()}, {today.isoformat()}.")
        write_atomic(request.output, text.encode(), make_folder=True)
        found.written = str(request.output)
        read_profile(request.output)


def _node(profile: Profile, found: _Found) -> dict[str, Any]:
    """As many cards as this process sees of the kind."""
    driver = found.driver.driver if isinstance(found.driver.driver, str) else ""
    count = sum(card.name == found.cards[0][0].card.name for card in visible(found.driver.cards))
    resources, labels = profile.node_resources(count, driver), node_labels(profile, driver)
    return {"num_gpus": count, "resources": resources, "labels": labels}


def _check_output(path: Path) -> None:
    """Refuse before anything is probed.

    Raises:
        RequestError: the name is no profile's, or something else lies there.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise RequestError("a profile's name ends with .yaml", where=str(path))
    if "site-packages" in path.absolute().parts:
        remedy = "Write a copy elsewhere and name it in lane.profile."
        raise RequestError("profiles of an installed package are not changed", where=str(path), remedy=remedy)
    if path.exists():
        read_profile(path)  # whatever else lies there is not replaced


def _document(found: _Found, request: ProbeRequest) -> dict[str, Any]:
    main, shm = memory(), shared_memory()
    document: dict[str, Any] = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": cores(),
        "memory": dataclasses.asdict(main) if main else None,
        "shared_memory": dataclasses.asdict(shm) if shm else None,
        "driver": plain(found.driver),
        "cards": [{**plain(one), "profile": profile.name if profile else None} for one, profile in found.cards],
        "libraries": plain(found.libraries),
        "disks": plain(found.disks),
    }
    if request.verify:
        document["verify"] = {"confirmed": confirmed(found.rows), "rows": plain(found.rows)}
    if found.written:
        document["written"] = found.written
    if found.node:
        document["node"] = found.node
    return document


def _print(lines: Sequence[tuple[str, str]]) -> None:
    sys.stdout.writelines(f"{name:<12}{shown(text)}\n" for name, text in lines)
    sys.stdout.flush()


def _silent(lines: object) -> None:
    """In JSON mode everything comes at once, at the end."""
