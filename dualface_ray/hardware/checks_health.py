"""The doctor's rules about a card's health: memory that goes bad, heat, a driver that comes and goes. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from dualface_ray.hardware.checks import Finding
from dualface_ray.hardware.facts import CardFacts, Unknown


def health_findings(card: CardFacts) -> Iterator[Finding]:
    """Memory errors, memory taken out of use, clocks held down, persistence mode; what is not known is no complaint."""
    name = f"gpu {card.index}"
    if isinstance(card.ecc_errors, int) and card.ecc_errors > 0:
        text = f"{card.ecc_errors} uncorrected memory errors since the driver was loaded"
        yield Finding(name, "warn", text, "Reset the card (nvidia-smi -r) or reboot; if they come back, replace it.")
    count = "" if isinstance(card.retired, Unknown) else f" ({card.retired} so far)"
    if card.retiring == "failed":
        text = f"bad memory could not be replaced, its spare rows are used up{count}"
        yield Finding(name, "warn", text, "Have the card replaced; nvidia-smi -q -d ROW_REMAPPER shows the rows.")
    elif card.retiring == "pending":
        text = f"bad memory waits to be taken out of use{count}"
        yield Finding(name, "warn", text, "Reset the card (nvidia-smi -r) or reboot.")
    if isinstance(card.slowed, str) and card.slowed:
        heat = "" if isinstance(card.temperature_c, Unknown) else f", at {card.temperature_c} °C"
        text = f"its clocks are held down ({card.slowed}{heat})"
        yield Finding(name, "warn", text, "Look after its cooling and power: nvidia-smi -q -d PERFORMANCE,TEMPERATURE.")
    if card.persistence is False:
        text = "persistence mode is off: the driver sets the card up anew whenever nobody has used it"
        yield Finding(name, "note", text, f"nvidia-smi -i {card.index} -pm 1 (as root), or nvidia-persistenced.")
