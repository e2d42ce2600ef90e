"""Talk: who speaks when, as syllables; mouths and voices both follow it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

SAMPLE_RATE_HZ = 48_000
_CONTROL_HZ = 200

# First three formants in Hz of five vowels (a, e, i, o, u): means of the classic tables (Peterson and Barney 1952).
_FORMANTS_HZ = ((730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240))
_TABLE = 2048
_BLOCK = 4 * SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Turn:
    """One person speaks for a while."""

    speaker: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Talk:
    """The conversation of a scene.

    Attributes:
        turns: in order, without overlap.
        loudness: float32 (speakers, n) at 200 Hz: 0..1, one bump per syllable.
        vowel: float32 (speakers, n) at 200 Hz: which vowel, 0..4, gliding.
    """

    turns: tuple[Turn, ...]
    loudness: F32
    vowel: F32

    @staticmethod
    def make(rng: np.random.Generator, duration_s: float, speakers: int = 2) -> Talk:
        """Turns of two to five seconds that alternate between the speakers, four or five syllables a second."""
        count = math.ceil(duration_s * _CONTROL_HZ) + 2
        loudness, vowel = np.zeros((2, speakers, count), np.float32)
        turns, now, speaker = [], 0.15, 0
        while now < duration_s:
            end = min(duration_s, now + float(rng.uniform(2.0, 5.0)))
            turns.append(Turn(speaker, now, end))
            while now < end - 0.12:
                length = float(rng.uniform(0.13, 0.30))
                first, last = int(now * _CONTROL_HZ), min(count, int((now + length) * _CONTROL_HZ))
                bump = np.sin(np.linspace(0, math.pi, max(0, last - first)), dtype=np.float64) ** 0.8
                loudness[speaker, first:last] = bump * float(rng.uniform(0.55, 1.0))
                vowel[speaker, first:last] = float(rng.integers(0, 5))
                now += length + (float(rng.uniform(0.15, 0.4)) if rng.random() < 0.12 else 0.01)
            now = end + float(rng.uniform(0.15, 0.5))
            speaker = (speaker + 1) % speakers
        kernel = np.hanning(13) / np.hanning(13).sum()
        for k in range(speakers):
            vowel[k] = np.convolve(vowel[k], kernel, "full")[6 : 6 + count]
        return Talk(tuple(turns), loudness, vowel)

    def mouth(self, speaker: int, time_s: float) -> float:
        """How far the mouth is open, 0..1."""
        at = min(self.loudness.shape[1] - 1, max(0, round(time_s * _CONTROL_HZ)))
        return float(self.loudness[speaker, at])

    def speaking(self, speaker: int, time_s: float) -> float:
        """0..1: eases in and out with this speaker's turns (gestures and head bobs)."""
        return max(
            (min(1.0, (time_s - t.start_s) / 0.4, (t.end_s - time_s) / 0.4) for t in self.turns
             if t.speaker == speaker and t.start_s < time_s < t.end_s),
            default=0.0,
        )  # fmt: skip

    def voices(self, rng: np.random.Generator, duration_s: float) -> F32:
        """Sound: float32 (2, samples) at 48 kHz, one synthetic voice per speaker, panned a little apart.

        Each voice is a pulse train of its own pitch, filtered by three gliding formants (wavetables of one period).
        """
        samples = round(duration_s * SAMPLE_RATE_HZ)
        stereo = np.zeros((2, samples), np.float32)
        grid = np.arange(self.loudness.shape[1])
        for k in range(self.loudness.shape[0]):
            pitch_hz = (112.0, 205.0, 150.0)[k % 3]
            tables = _wavetables(pitch_hz)
            glide = np.convolve(rng.normal(0, 1, grid.size + 60), np.hanning(61) / 12, "valid") * 0.03
            pan = 0.5 + (0.22 if k % 2 else -0.22)
            turned = 0.0  # phase in periods; sound is made in blocks, so that long clips need little memory
            for start in range(0, samples, _BLOCK):
                control = np.arange(start, min(samples, start + _BLOCK)) * (_CONTROL_HZ / SAMPLE_RATE_HZ)
                level = np.interp(control, grid, self.loudness[k])
                phase = turned + np.cumsum(pitch_hz * (1 + np.interp(control, grid, glide))) / SAMPLE_RATE_HZ
                turned = float(phase[-1])
                index = (phase * _TABLE).astype(np.int64) % _TABLE
                kind = np.interp(control, grid, self.vowel[k])
                low = np.minimum(kind.astype(np.int64), 3)
                wave = tables[low, index] * (1 - (kind - low)) + tables[low + 1, index] * (kind - low)
                voice = level * (0.22 * wave + 0.004 * rng.normal(0, 1, control.size))
                part = stereo[:, start : start + _BLOCK]
                part += np.stack((voice * math.sqrt(1 - pan), voice * math.sqrt(pan))).astype(np.float32)
        return stereo


def _wavetables(pitch_hz: float) -> F64:
    """One period of each vowel at this pitch, float64 (5, 2048), unit RMS."""
    tables = np.zeros((5, _TABLE))
    turn = np.arange(_TABLE) * (2 * math.pi / _TABLE)
    for row, formants in enumerate(_FORMANTS_HZ):
        for n in range(1, int(4200 / pitch_hz)):
            f = n * pitch_hz
            gain = sum(
                g / (1 + ((f - centre) / (70 + 0.04 * centre)) ** 2)
                for centre, g in zip(formants, (1, 0.5, 0.25), strict=True)
            )
            tables[row] += (gain + 0.01) / n**0.4 * np.sin(n * turn + 0.7 * n * n)
        tables[row] /= np.sqrt(np.mean(tables[row] ** 2))
    return tables
