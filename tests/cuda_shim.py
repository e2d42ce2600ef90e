"""Runs the CUDA kernels on the host: the same source behind a shim, compiled with whatever C++ compiler there is.

Kernels that never meet a barrier run one thread after the other. The others get one real thread for each thread of a
block and a real barrier, so a missing ``__syncthreads`` has a chance to show. Blocks run in turn, which makes shared
memory a static variable.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dualface_ray.backends.cuda.kernels import source

SHIM = r"""
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>
#include <pthread.h>
#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
struct Dim3 { unsigned x, y, z; };
static thread_local Dim3 threadIdx, blockIdx;
static Dim3 blockDim, gridDim;
static pthread_barrier_t block_barrier;
#define __syncthreads() pthread_barrier_wait(&block_barrier)
template <class T> static T atomicAdd(T *where, T what) { return __atomic_fetch_add(where, what, __ATOMIC_RELAXED); }
static float atomicAdd(float *where, float what) {
  float seen = *where, wanted;
  do { wanted = seen + what; } while (!__atomic_compare_exchange(where, &seen, &wanted, false, __ATOMIC_RELAXED,
                                                                 __ATOMIC_RELAXED));
  return seen;
}
static inline unsigned short to_half(float value) {  // round to nearest, ties to even
  unsigned bits; std::memcpy(&bits, &value, 4);
  unsigned sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
  if (rest >= 0x47800000u) return (unsigned short)(sign | (rest > 0x7f800000u ? 0x7e00u : 0x7c00u));
  if (rest < 0x38800000u) {
    float magnitude; std::memcpy(&magnitude, &rest, 4);
    return (unsigned short)(sign | (unsigned)std::nearbyint(magnitude * 16777216.0f));
  }
  unsigned half = (rest - 0x38000000u) >> 13, low = rest & 0x1fffu;
  half += low > 0x1000u || (low == 0x1000u && (half & 1u));
  return (unsigned short)(sign | half);
}
template <class F>
static void run_grid(unsigned gx, unsigned gy, unsigned gz, unsigned threads, bool barriers, F body) {
  gridDim = {gx, gy, gz};
  blockDim = {threads, 1, 1};
  if (threads == 1) pthread_barrier_init(&block_barrier, nullptr, 1);  // nobody to wait for
  for (unsigned z = 0; z < gz; ++z) for (unsigned y = 0; y < gy; ++y) for (unsigned x = 0; x < gx; ++x) {
    if (!barriers || threads == 1) {
      blockIdx = {x, y, z};
      for (unsigned t = 0; t < threads; ++t) { threadIdx = {t, 0, 0}; body(); }
      continue;
    }
    pthread_barrier_init(&block_barrier, nullptr, threads);
    std::vector<std::thread> team;
    for (unsigned t = 0; t < threads; ++t)
      team.emplace_back([=] { threadIdx = {t, 0, 0}; blockIdx = {x, y, z}; body(); });
    for (auto &one : team) one.join();
    pthread_barrier_destroy(&block_barrier);
  }
  if (threads == 1) pthread_barrier_destroy(&block_barrier);
}
"""

_ENTRY = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(([^)]*)\)', re.S)


def entries(text: str) -> dict[str, list[str]]:
    """Names of the kernels in a source, each with its parameters."""
    return {
        name: [p.strip() for p in " ".join(arguments.split()).split(",")] for name, arguments in _ENTRY.findall(text)
    }


def _wrapper(name: str, parameters: list[str], barriers: bool) -> str:
    names = [re.findall(r"\w+", parameter)[-1] for parameter in parameters]
    inner = ", ".join(names)
    return (
        f'extern "C" void run_{name}(unsigned gx, unsigned gy, unsigned gz, unsigned threads, {", ".join(parameters)}) '
        f"{{ run_grid(gx, gy, gz, threads, {str(barriers).lower()}, [=] {{ {name}({inner}); }}); }}\n"
    )


@cache
def compiled(name: str) -> ctypes.CDLL:
    """The kernels of one source file as a host library; skips the test when there is no C++ compiler."""
    compiler = next((found for c in ("g++", "c++", "clang++") if (found := shutil.which(c))), None)
    if compiler is None:
        pytest.skip("no C++ compiler")
    text = source(name)
    barriers = "__syncthreads()" in text
    code = SHIM + text + "".join(_wrapper(n, p, barriers) for n, p in entries(text).items())
    folder = Path(tempfile.gettempdir()) / "dualface-kernel-shims"
    folder.mkdir(exist_ok=True)
    library = folder / f"{name}-{hashlib.sha256(code.encode()).hexdigest()[:16]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as build:
            path = Path(build) / f"{name}.cpp"
            path.write_text(code)
            made = Path(build) / "out.so"
            command = [compiler, "-O2", "-std=c++17", "-w", "-ffp-contract=off", "-fPIC", "-shared", "-pthread"]
            subprocess.run([*command, str(path), "-o", str(made)], check=True, capture_output=True, text=True)
            made.chmod(0o755)
            shutil.move(str(made), str(library))
    return ctypes.CDLL(str(library))


def run(name: str, kernel: str, grid: tuple[int, int, int], threads: int, *arguments: object) -> None:
    """Run one kernel to its end: arrays become pointers, Python numbers int or float, NumPy scalars their own type."""
    values: list[object] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            assert argument.flags.c_contiguous
            values.append(ctypes.c_void_p(argument.ctypes.data))
        elif isinstance(argument, float):
            values.append(ctypes.c_float(argument))
        else:
            assert isinstance(argument, int)
            values.append(ctypes.c_int(argument))
    function = getattr(compiled(name), f"run_{kernel}")
    function.restype = None
    function(*(ctypes.c_uint(v) for v in (*grid, threads)), *values)
