"""Every tuned number of framing that is not a setting, in one place, with its unit and reason."""

from __future__ import annotations

CALM_LEVELS = ((1.0, 0.16), (2.0, 0.1), (4.0, 0.06), (40.0, 0.02))
"""(times the calm speed, smoothing time in seconds), calmest first: a faster one only to keep a face inside."""
ZOOM_RATE = 0.7
"""Fastest calm change of the logarithm of the crop's height per second."""
ZOOM_DEAD_FLOOR = 0.04
"""The zoom tube is never narrower than this (log height): detectors breathe."""
VERTICAL_DEAD = 0.8
"""Vertical dead zone over the horizontal one: head room is noticed sooner."""
PADDING_S = 0.7
"""The last known aim is held this long beyond the look-ahead when the path is solved."""
CHECK_S = 0.25
"""Faces must be inside for this long after the frames that are given out, too."""
FACE_MARGIN = 0.04
"""Air around a face inside its tile, over its size."""
UNION_FILL = 0.8
"""Both persons' faces together fill at most this share of a tile while they cannot be told apart."""
RETURN_LEAD_S = 1.0
"""The camera may begin to move this long before somebody comes back."""
LEAST_VISIBLE = 0.3
"""A face of which less than this share lies inside the frame does not bind the camera."""
RETURN_WEIGHT = 0.002
"""The string on the way to somebody who comes back counts this little: only arriving in time matters."""
ENTRY_LEAD_S = 0.12
"""A tile is ready for somebody this long before the first sight: detectors find a face a little late."""
MIN_CROP_FACES = 1.25
"""A crop is never lower than this many face heights."""
BLOCK_FRAMES = 16
"""Frames given out from one solution of the path."""
SWAP_WIDTHS = 0.6
"""With tile_by: position, sides change when the centres are this many face widths past each other."""
EVEN_TIMES = 0.02
"""Frames whose distances differ by less than this share count as evenly spaced."""
STILL_PX = 2.0**-12
"""Crop centres lie on this grid: a camera that does not move stands exactly still."""
STILL_ZOOM = 2.0**-22
"""The same for the logarithm of the crop's height."""
