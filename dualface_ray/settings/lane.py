"""How a lane uses its share of the machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dualface_ray.settings.base import Group, conflict


class LaneSettings(Group):
    """One lane: a GPU, or a share of the CPU."""

    backend: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes every CUDA device there is and says so, else the CPU."""
    allow_cpu_decode: bool = False
    """Let a GPU lane decode on the CPU what its card cannot; the report says so."""
    profile: str = ""
    """Static profile of the cards (a name from configs/profiles or a YAML file), for nodes whose label
    dualface-profile names none; empty = plan without one."""
    allow_unverified_profile: bool = False
    """Plan with a profile that nobody has confirmed on the real card."""
    encoder: Literal["auto", "nvenc", "cpu"] = "auto"
    """auto encodes on the card where its profile has NVENC and on the CPU elsewhere; nvenc uses no other cards;
    cpu never asks for an encoder session."""
    join_cpu: Literal["none", "nodes", "cores"] = "none"
    """Lanes on the CPU beside those on GPUs: none, one on each node without a GPU, or also one on the cores
    that the GPU lanes of a node leave."""
    count: int = Field(0, ge=0)
    """Number of lanes; 0 = one per GPU, or one on each CPU node."""
    cores: int = Field(0, ge=0)
    """CPU cores of one lane; 0 = an equal share of those the job may use."""
    streams: int = Field(0, ge=0, le=64)
    """Videos at once in one lane; 0 = what suits the backend (half the cores on a CPU, 16 on a GPU)."""
    chunk_frames: int = Field(16, ge=1, le=64)
    """Most frames of one message between the actors of a lane."""
    encoder_depth_frames: int = Field(8, ge=1, le=64)
    """Frames the encoder side may hold beyond the look-ahead."""
    slots_per_stream: int = Field(0, ge=0)
    """Frames of one stream that fit in the pool; 0 = exactly what look-ahead, chunks and encoder need."""
    pool_budget_bytes: int = Field(0, ge=0)
    """Memory of a lane's pool; 0 = half of what /dev/shm has free, or the VRAM budget."""
    vram_share: float = Field(0.65, gt=0, le=0.70)
    """Part of the card that may be planned for; above 0.70 is refused."""

    @model_validator(mode="after")
    def _nvenc_needs_a_card(self) -> LaneSettings:
        if self.encoder == "nvenc" and self.backend == "cpu":
            raise conflict(
                "lane.encoder",
                "nvenc needs a card, but lane.backend is cpu",
                "Set lane.encoder=auto or lane.backend=auto.",
            )
        return self
