"""How a tensor of a file lies against ours: a pair of functions, each the other's inverse."""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class FileLayout:
    """One way of laying a tensor out.

    Attributes:
      name: What it is called.
      ours: Gives our array of the file's; mostly a view.
      theirs: Gives the file's array of ours; tells the shape that the file must have, too.
    """

    name: str
    ours: Callable[[np.ndarray], np.ndarray]
    theirs: Callable[[np.ndarray], np.ndarray]


def source_shape(layout: FileLayout, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a file's tensor must have to become one of ours, of `shape`."""
    return layout.theirs(np.broadcast_to(np.float32(0), shape)).shape


SAME = FileLayout("as it is", lambda x: x, lambda x: x)

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

# The TensorFlow-era code convolves the upsampled image; a transposed convolution, which ours and the published
# PyTorch ones are, meets the taps in the opposite order.
TF_FLIPPED = FileLayout("(h, w, in, out), taps flipped", lambda x: x[::-1, ::-1], lambda x: x[::-1, ::-1])

TF_POINTWISE = FileLayout("(1, 1, in, 3)", lambda x: x[0, 0], lambda x: x[None, None])

# Stored around 0 there, and 1 is added when it is used.
TF_STYLE_BIAS = FileLayout("less 1", lambda x: x + np.float32(1), lambda x: x - np.float32(1))
