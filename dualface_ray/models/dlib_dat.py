"""Reading dlib's serialised metric ResNet: the numbers of each layer, in the order in which they are applied.

Format (dlib ``serialize.h`` and ``cuda/tensor.h``): an integer is one control byte (bit 7 = sign, low bits = count)
and that many bytes, least significant first; a float is two such integers, mantissa and binary exponent; a string is
its length and its bytes; a tensor is a version, four dims and raw little-endian float32. Layers are written from the
input on, each parameterised one behind its own name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualface_ray.errors import ModelError
from dualface_ray.frames import F32


@dataclass(frozen=True, slots=True, eq=False)
class ConvLayer:
    """One convolution with the affine layer behind it.

    ``weight``: float32 (filters, channels, rows, columns); ``bias``, ``gamma``, ``beta``: float32 (filters,).
    """

    weight: F32
    bias: F32
    stride: int
    padding: int
    gamma: F32
    beta: F32


@dataclass(frozen=True, slots=True, eq=False)
class DlibResNet:
    """The network: input means (3,) of R, G and B, its convolutions in order and the final matrix (256, 128)."""

    means: F32
    layers: tuple[ConvLayer, ...]
    matrix: F32


class _Reader:
    """A cursor over the file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def seek_name(self, name: str) -> None:
        """Go behind the next occurrence of this name."""
        raw = name.encode()
        mark = bytes((1, len(raw))) + raw
        found = self.data.find(mark, self.at)
        if found < 0:
            raise ModelError(f"layer {name!r} not found", where="dlib model")
        self.at = found + len(mark)

    def take(self, count: int) -> bytes:
        raw = self.data[self.at : self.at + count]
        if count < 0 or len(raw) != count:
            raise ModelError("the file ends too early", where="dlib model")
        self.at += count
        return raw

    def integer(self) -> int:
        control = self.take(1)[0]
        size = control & 0x0F
        if not 1 <= size <= 8:
            raise ModelError(f"not a serialised integer (control byte {control:#x})", where="dlib model")
        value = int.from_bytes(self.take(size), "little")
        return -value if control & 0x80 else value

    def real(self) -> float:
        mantissa, exponent = self.integer(), self.integer()
        return float(np.ldexp(float(mantissa), exponent))

    def tensor(self) -> F32:
        version = self.integer()
        if version != 2:
            raise ModelError(f"tensor version {version} is not 2", where="dlib model")
        dims = [self.integer() for _ in range(4)]
        raw = self.take(4 * int(np.prod(dims)))
        return np.frombuffer(raw, dtype="<f4").astype(np.float32).reshape(dims)


def parse_dlib_resnet(data: bytes) -> DlibResNet:
    """Read the file.

    Raises:
        ModelError: it is not dlib's metric ResNet.
    """
    reader = _Reader(data)
    reader.seek_name("input_rgb_image_sized")
    means = np.array([reader.real() for _ in range(3)], np.float32)
    layers: list[ConvLayer] = []
    channels = 3
    while len(layers) < 29:
        reader.seek_name("con_4")
        params = reader.tensor().ravel()
        filters, rows, columns, stride, stride_x, padding, padding_x = (reader.integer() for _ in range(7))
        size = filters * channels * rows * columns
        if params.size != size + filters or (stride, padding) != (stride_x, padding_x):
            raise ModelError(f"convolution {len(layers)} has an unexpected shape", where="dlib model")
        reader.seek_name("affine_")
        affine = reader.tensor().ravel()
        if affine.size != 2 * filters:
            raise ModelError(f"affine layer {len(layers)} has an unexpected shape", where="dlib model")
        weight = params[:size].reshape(filters, channels, rows, columns)
        layers.append(ConvLayer(weight, params[size:], stride, padding, affine[:filters], affine[filters:]))
        channels = filters
    reader.seek_name("fc_2")
    outputs, inputs = reader.integer(), reader.integer()
    matrix = reader.tensor().ravel()
    if (inputs, outputs) != (256, 128) or matrix.size != inputs * outputs:
        raise ModelError(f"the last layer maps {inputs} to {outputs} numbers, not 256 to 128", where="dlib model")
    return DlibResNet(means, tuple(layers), matrix.reshape(inputs, outputs))
