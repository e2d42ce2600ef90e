"""Settings: all groups in one frozen model, checked against each other."""

from __future__ import annotations

import math
from fractions import Fraction

from pydantic import Field, model_validator

from dualface_ray.settings.base import Group, conflict
from dualface_ray.settings.detect import DetectSettings
from dualface_ray.settings.encode import EncodeSettings
from dualface_ray.settings.framing import FramingSettings
from dualface_ray.settings.identity import IdentitySettings
from dualface_ray.settings.inputs import InputSettings
from dualface_ray.settings.job import JobSettings
from dualface_ray.settings.lane import LaneSettings
from dualface_ray.settings.storage import StorageSettings
from dualface_ray.settings.timing import TimingSettings


class Settings(Group):
    """Everything a run depends on. ``resolve`` (in ``load``) is the usual way to make one."""

    input: InputSettings = Field(default_factory=InputSettings)
    timing: TimingSettings = Field(default_factory=TimingSettings)
    detect: DetectSettings = Field(default_factory=DetectSettings)
    identity: IdentitySettings = Field(default_factory=IdentitySettings)
    framing: FramingSettings = Field(default_factory=FramingSettings)
    encode: EncodeSettings = Field(default_factory=EncodeSettings)
    lane: LaneSettings = Field(default_factory=LaneSettings)
    job: JobSettings = Field(default_factory=JobSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)

    def lookahead_frames(self, rate: Fraction) -> int:
        """Frames the camera path waits for at this frame rate (never above ``input.max_fps``)."""
        fps = min(rate, Fraction(self.input.max_fps))
        return max(1, math.ceil(Fraction(self.framing.lookahead_s).limit_denominator(10**6) * fps))

    def quota_frames(self, rate: Fraction) -> int:
        """Slots one stream of this rate needs: look-ahead, three chunks and the encoder's depth (DESIGN section 4)."""
        need = self.lookahead_frames(rate) + 3 * self.lane.chunk_frames + self.lane.encoder_depth_frames
        return max(need, self.lane.slots_per_stream)

    @model_validator(mode="after")
    def _grid_is_within_the_limit(self) -> Settings:
        """The limit counts the grid, too; looking at every frame is for measurements and knows none."""
        grid_hz, most_hz = self.detect.grid_hz, self.identity.max_detect_hz
        if grid_hz > most_hz and not self.detect.every_frame:
            raise conflict(
                "detect.grid_hz",
                f"{grid_hz:g} is more than identity.max_detect_hz={most_hz:g}, which counts the grid and questions "
                "together",
                f"Use at most {most_hz:g}, or raise identity.max_detect_hz.",
            )
        return self

    @model_validator(mode="after")
    def _quota_covers_lookahead(self) -> Settings:
        """A stream that may hold fewer frames than its camera path waits for would stand still for ever."""
        slots = self.lane.slots_per_stream
        need = (
            self.lookahead_frames(Fraction(self.input.max_fps))
            + 3 * self.lane.chunk_frames
            + self.lane.encoder_depth_frames
        )
        if slots and slots < need:
            raise conflict(
                "lane.slots_per_stream",
                f"{slots} is less than the {need} frames that framing.lookahead_s={self.framing.lookahead_s} at "
                f"input.max_fps={self.input.max_fps}, three chunks and the encoder need",
                f"Use 0 (just enough) or at least {need}, or shorten framing.lookahead_s.",
            )
        return self
