"""Facts about a card that does not exist."""

from __future__ import annotations

from dualface_ray.hardware import CardFacts, Unknown

MIB = 1 << 20


def card(name: str = "NVIDIA L4", index: int = 0, **changes: object) -> CardFacts:
    values: dict[str, object] = {
        "index": index,
        "name": name,
        "uuid": f"GPU-{index}abc",
        "vram_bytes": 23034 * MIB,
        "used_bytes": 100 * MIB,
        "compute_capability": "8.9",
        "mig": False,
        "decoders": Unknown("its decoder knows"),
        "compute_mode": "default",
        "persistence": True,
        "slowed": "",
        "temperature_c": 40,
        "ecc": True,
        "ecc_errors": 0,
        "retired": 0,
        "retiring": "",
        "gpu_share": 0.0,
        "nvdec_share": 0.0,
        "nvenc_share": 0.0,
        "open_sessions": 0,
        "processes": (),
        **changes,
    }
    return CardFacts(**values)  # type: ignore[arg-type]
