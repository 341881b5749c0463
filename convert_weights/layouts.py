"""Layouts of a file's tensors: pairs of functions from and to the file, inverses of each other."""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class FileLayout:
    """The layout of a tensor in a file.

    Attributes:
      name: Its dimensions in the file.
      from_file: Converts an array from the file's layout to our network's; mostly to a view.
      to_file: Converts an array from our network's layout to the file's.
    """

    name: str
    from_file: Callable[[np.ndarray], np.ndarray]
    to_file: Callable[[np.ndarray], np.ndarray]


def source_shape(layout: FileLayout, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that a file's tensor must have to become a variable of `shape`."""
    return layout.to_file(np.broadcast_to(np.float32(0), shape)).shape


SAME = FileLayout("as in the network", lambda x: x, lambda x: x)

LINEAR = FileLayout("(out, in)", lambda x: x.T, lambda x: x.T)

CONV = FileLayout("(out, in, h, w)", lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1))

POINTWISE = FileLayout("(out, in, 1, 1)", lambda x: x[:, :, 0, 0].T, lambda x: x.T[:, :, None, None])

MODULATED = FileLayout(
    "(1, out, in, h, w)", lambda x: x[0].transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1)[None]
)

MODULATED_POINTWISE = FileLayout(
    "(1, 3, in, 1, 1)", lambda x: x[0, :, :, 0, 0].T, lambda x: x.T[None, :, :, None, None]
)

RGB_BIAS = FileLayout("(1, 3, 1, 1)", lambda x: x[0, :, 0, 0], lambda x: x[None, :, None, None])

CONSTANT = FileLayout("(1, channels, 4, 4)", lambda x: x[0].transpose(1, 2, 0), lambda x: x.transpose(2, 0, 1)[None])

NOISE = FileLayout("(1, 1, h, w)", lambda x: x[0, 0], lambda x: x[None, None])

ONE_NUMBER = FileLayout("(1,)", lambda x: x[0], lambda x: x[None])

ADA_CONSTANT = FileLayout("(channels, 4, 4)", lambda x: x.transpose(1, 2, 0), lambda x: x.transpose(2, 0, 1))

# The TensorFlow-era code convolves the upsampled image; a transposed convolution, as in our network and in the
# published PyTorch ones, applies the taps in the opposite order.
TF_FLIPPED = FileLayout("(h, w, in, out), taps flipped", lambda x: x[::-1, ::-1], lambda x: x[::-1, ::-1])

TF_POINTWISE = FileLayout("(1, 1, in, 3)", lambda x: x[0, 0], lambda x: x[None, None])

# Stored around 0 in that file, and 1 is added when it is used.
TF_STYLE_BIAS = FileLayout("less 1", lambda x: x + np.float32(1), lambda x: x - np.float32(1))
