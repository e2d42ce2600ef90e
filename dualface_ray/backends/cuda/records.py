"""Records that tell a kernel how to read a slot; pure NumPy, so the tests need no device."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualface_ray.backends.cuda.kernels import LETTERBOX_ITEM
from dualface_ray.detect import Letterbox, yuv_to_rgb_matrix
from dualface_ray.frames import PixelLayout, StreamInfo


def letterbox_item(address: int, info: StreamInfo, box: Letterbox) -> Any:
    """One ``LETTERBOX_ITEM`` for the slot at this address."""
    item = np.zeros((), LETTERBOX_ITEM)
    item["slot"] = address
    item["pitch"] = info.slot_width_px
    item["slot_rows"] = info.slot_height_px
    item["width"] = info.width_px
    item["height"] = info.height_px
    item["content_width"], item["content_height"] = box.stored_content_px
    item["rotation"] = info.rotation_deg
    item["wide"] = info.layout is PixelLayout.P010
    item["matrix"] = yuv_to_rgb_matrix(info.colour, info.height_px).ravel()
    return item
