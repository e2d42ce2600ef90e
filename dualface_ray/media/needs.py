"""VideoNeeds: what a video takes of a lane, known before anything is planned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VideoNeeds:
    """One video's frames in a pool, on either kind of lane."""

    host_bytes: int = 0
    """Of its slots in a CPU lane's pool."""
    device_bytes: int = 0
    """Of its slots in a GPU lane's pool: NVDEC gives 16-bit samples where there are more than 8 bits."""
    frames: int = 1
    """Slots."""
    lookahead_frames: int = 0
    """Of these, what the camera path waits for."""
    portrait: bool = False
    """Displayed higher than wide: the detector's input is turned."""

    @property
    def picture_bytes(self) -> int:
        """Of one slot on a GPU lane."""
        return -(-self.device_bytes // self.frames)
