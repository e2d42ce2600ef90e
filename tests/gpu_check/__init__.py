"""Checks the GPU backend on a machine that has one: PASS or FAIL with the cause, one step never hiding the next.

    python tests/gpu_check [--cache DIR] [--media DIR] [--out DIR] [--budget-s 540] [--only a,b] [--skip c]

Every step runs in a process of its own, so a crash inside a driver library costs that step alone. Needs no network and
no pytest: models come from the cache (``--cache``, the folder ``DUALFACE_CACHE`` names), clips are encoded on the spot
with PyAV, and pictures with faces come from ``--media`` where there are some. The slow engine builds start first and
run beside the other steps.
"""
