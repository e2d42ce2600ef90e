"""A whole lane in one process: the three services wired without Ray."""

from __future__ import annotations

import time
from pathlib import Path

from actors.decoding import DecodeLinks, DecodeService
from actors.encoding import EncodeService
from actors.inferring import InferenceLinks, InferenceService
from actors.messages import SegmentJob, StreamStatus
from actors.work.session import SessionLinks
from dualface_ray.backends import load_backend
from dualface_ray.settings import Settings


class InProcessLane:
    """Decoder, inference and encoder of one lane; calls go straight from one to the next."""

    def __init__(self, settings: Settings, *, streams: int = 2, pool_bytes: int = 256 << 20) -> None:
        backend = load_backend("cpu")
        slots = streams * settings.quota_frames(settings.input.max_fps)
        self.decoder = DecodeService(backend, settings, pool_bytes=pool_bytes, pool_slots=slots, threads=1)
        self.inference = InferenceService(backend, settings, threads=1, streams=streams)
        self.encoder = EncodeService(backend, settings, encode_threads=1)
        self.inference.attach(self.decoder.handle)
        self.encoder.attach(self.decoder.handle)
        self.decoder.seal()
        self.decoder.connect(DecodeLinks(self.inference.opened, self.inference.chunk))
        self.inference.connect(InferenceLinks(self.encoder.post, self.encoder.post, self.encoder.post))
        links = SessionLinks(
            credit=lambda job, credit: self.decoder.grant(credit),
            release=lambda job: self.decoder.release(job.key),
            request=self.inference.request,
        )
        self.encoder.connect(links, self.inference.provenance())

    def start(self, job: SegmentJob) -> None:
        self.encoder.open(job)
        self.decoder.open(job)

    def wait(self, job: SegmentJob, timeout_s: float = 60.0) -> StreamStatus:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            status = next(s for s in self.encoder.status().streams if s.key == job.key)
            if status.state.final:
                return status
            time.sleep(0.02)
        raise TimeoutError(f"{job.stream_id} stands at {status.frames_done} frames")

    def run(self, job: SegmentJob, timeout_s: float = 60.0) -> StreamStatus:
        self.start(job)
        return self.wait(job, timeout_s)

    def close(self) -> None:
        self.encoder.close()
        self.inference.close()
        self.decoder.close()

    def __enter__(self) -> InProcessLane:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def job_for(source: Path, out: Path, settings: Settings, stream_id: str = "v0", epoch: int = 0) -> SegmentJob:
    """A job with the usual outputs, in a folder that is there, as the driver makes it."""
    from dualface_ray.media import plan_outputs
    from dualface_ray.report import fingerprint

    outputs = plan_outputs([source], out, layout=settings.framing.layout, container=settings.encode.container)[0]
    outputs.folder.mkdir(parents=True, exist_ok=True)
    return SegmentJob(stream_id, epoch, source, outputs, fingerprint(source, settings))
