"""Audio: which codec is copied into which container, and what the others become."""

from __future__ import annotations

from dataclasses import dataclass

_MP4_COPIES = frozenset({"aac", "alac", "mp3"})
_MKV_COPIES = _MP4_COPIES | {
    "ac3",
    "dts",
    "eac3",
    "flac",
    "mp2",
    "opus",
    "pcm_f32le",
    "pcm_s16le",
    "pcm_s24le",
    "pcm_s32le",
    "truehd",
    "vorbis",
}
_COPIES = {"mp4": _MP4_COPIES, "mov": _MP4_COPIES, "mkv": _MKV_COPIES}

_AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
"""Sampling frequencies of ISO/IEC 14496-3, table 1.18, that players commonly support."""
_AAC_LAYOUTS = frozenset({"mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"})


@dataclass(frozen=True, slots=True)
class AudioPlan:
    """What happens to one audio stream.

    ``copy``: the packets go over unchanged, and the rest is meaningless. Otherwise AAC with this rate, channel layout
    and bit rate; samples are resampled to the rate, never stretched.
    """

    copy: bool
    rate_hz: int = 48000
    layout: str = "stereo"
    bitrate_bps: int = 160_000


def plan_audio(
    codec: str, container: str, rate_hz: int, layout: str, channels: int, bitrate_bps: int, *, copy: bool = True
) -> AudioPlan:
    """Decide about one audio stream.

    | container | copied | all else |
    |---|---|---|
    | MP4, MOV | AAC, ALAC, MP3 | AAC |
    | MKV | these, AC-3, E-AC-3, DTS, FLAC, MP2, Opus, PCM, TrueHD, Vorbis | AAC |

    Args:
        codec: name of the source's codec as FFmpeg calls it.
        container: ``mp4``, ``mov`` or ``mkv``.
        rate_hz: sampling frequency of the source; one that AAC lacks becomes 48 kHz (44.1 kHz for its multiples).
        layout: channel layout of the source; one that AAC lacks becomes stereo (mono for one channel).
        channels: number of channels.
        bitrate_bps: of a stereo stream; half of it for mono, and half of it for each channel beyond two.
        copy: False = encode whatever the codec is.
    """
    if copy and codec in _COPIES[container]:
        return AudioPlan(copy=True)
    if rate_hz not in _AAC_RATES_HZ:
        rate_hz = 44100 if rate_hz and rate_hz % 44100 == 0 else 48000
    if layout not in _AAC_LAYOUTS:
        layout, channels = ("mono", 1) if channels == 1 else ("stereo", 2)
    # The encoder refuses more than 6144 bits per channel and frame of 1024 samples (ISO/IEC 14496-3, 4.5.3.3).
    ceiling = 6 * rate_hz * channels * 9 // 10
    return AudioPlan(False, rate_hz, layout, min(bitrate_bps * max(1, channels) // 2, ceiling))
