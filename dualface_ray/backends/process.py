"""Settings of a worker process that libraries keep globally."""

from __future__ import annotations


def limit_library_threads(threads: int) -> None:
    """Bound the threads OpenCV uses for one call in this process (its default is every core).

    ONNX Runtime, x264 and the decoders are bounded where their sessions are opened.
    """
    import cv2

    cv2.setNumThreads(threads)
