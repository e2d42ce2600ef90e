"""The doctor's checks of cards: facts are gathered part by part, each rule is a function of ``hardware``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dualface_ray.errors import DualfaceError
from dualface_ray.hardware import (
    CardFacts,
    CardProbe,
    DriverFacts,
    Finding,
    Profile,
    Surroundings,
    age_findings,
    capability_finding,
    card_findings,
    compare,
    compare_cpu,
    cores,
    cupy_findings,
    driver_finding,
    engine_finding,
    health_findings,
    instances_finding,
    ipc_finding,
    library_findings,
    module_findings,
    mps_finding,
    order_finding,
    probe_card,
    probe_ipc,
    probe_libraries,
    profile_findings,
    profile_for,
    visible,
    visible_finding,
)
from dualface_ray.settings import Settings


def card_checks(
    driver: DriverFacts, around: Surroundings, profile: Profile | None, settings: Settings
) -> Iterator[Finding]:
    """Every check of cards; one line, and nothing more, where there is no card.

    Args:
        driver: what NVML said.
        around: the machine around the cards.
        profile: to hold every card against; None = each card's own.
        settings: of the run.
    """
    if settings.lane.backend == "cpu":
        yield Finding("gpu", "note", "lane.backend=cpu: checks of cards are left out")
        return
    yield driver_finding(driver, around, wanted=settings.lane.backend == "cuda")
    if not driver.cards and profile is not None:
        yield from _without_cards(profile, driver)
    if not driver.cards and not around.nodes:
        return
    libraries = probe_libraries()
    found = capability_finding(around, libraries)
    if found is not None:
        yield found
    yield from library_findings(libraries, around)
    yield from age_findings(driver, libraries)
    yield from cupy_findings(libraries, driver)
    yield from module_findings(libraries)
    left = visible(driver.cards)
    hidden = visible_finding(driver, left, around)
    if hidden is not None:
        yield hidden
    shared = mps_finding(left, around)
    if shared is not None:
        yield shared
    yield from filter(None, (order_finding(driver, around), instances_finding(left)))
    for card in left:
        yield from card_findings(card, settings.lane.vram_share, mps=around.mps)
    for card in {card.index: card for card in left}.values():  # of a card with instances once
        yield from health_findings(card)
    for card in _one_of_each(left):
        yield from _card(card, driver, around, profile)
    if left:
        yield engine_cache_finding(left, _cached)


def _without_cards(profile: Profile, driver: DriverFacts) -> Iterator[Finding]:
    name = f"profile {profile.name}"
    if profile.kind == "gpu":
        text = f"it describes a card ({profile.card}), and none answers here"
        yield Finding(name, "fail", text, "Choose the profile cpu, or see the line about the gpu.")
        return
    wrong = [row for row in compare_cpu(profile, cores(), len(driver.cards)) if row.verdict != "ok"]
    for row in wrong:
        text = f"{row.figure}: the profile says {row.profile}, this machine {row.found}"
        yield Finding(name, "fail", text, "dualface probe cpu --output mine.yaml, then --set lane.profile=mine.yaml")
    if not wrong:
        yield Finding(name, "ok", "nothing in it contradicts this machine")


def _card(card: CardFacts, driver: DriverFacts, around: Surroundings, profile: Profile | None) -> Iterator[Finding]:
    """What needs a CUDA context: engines, IPC; and the comparison with the profile."""
    own = profile or profile_for(card.name)
    probe: CardProbe = probe_card(card, own, verify=False, count_sessions=False)
    yield engine_finding(probe)
    yield ipc_finding(probe_ipc(card), around)
    yield from profile_findings(own, compare(own, probe, driver) if own else (), card)


def _one_of_each(cards: Sequence[CardFacts]) -> list[CardFacts]:
    kinds: dict[str, CardFacts] = {}
    for card in cards:
        kinds.setdefault(card.name, card)
    return list(kinds.values())


def _cached() -> Sequence[dict[str, Any]]:
    from dualface_ray.models import cached_engines

    return cached_engines()


def engine_cache_finding(cards: Sequence[CardFacts], cached: Callable[[], Sequence[dict[str, Any]]]) -> Finding:
    """Whether the cache holds engines for these cards; without them the first run builds for a minute or two.

    Args:
        cards: names as NVML gives them.
        cached: the stamps of the cache.
    """
    name, build = "engine cache", "dualface models build"
    try:
        stamps = cached()
    except (DualfaceError, OSError, ValueError) as error:
        return Finding(name, "warn", f"cannot be read: {error}", "Point DUALFACE_CACHE to a folder you may read.")
    devices = {str(stamp.get("key", {}).get("device", "")) for stamp in stamps}
    missing = sorted({card.name for card in cards} - devices)
    if missing:
        text = f"no engine for {', '.join(missing)}: the first run builds them (a minute or two)"
        return Finding(name, "note", text, build)
    return Finding(name, "ok", f"{len(stamps)} engines")
