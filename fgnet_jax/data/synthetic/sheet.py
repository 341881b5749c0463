"""Sheets of synthetic faces, to look at."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fgnet_jax import aus
from fgnet_jax.data.synthetic.identity import Identity, sample_identity
from fgnet_jax.data.synthetic.projection import View
from fgnet_jax.data.synthetic.render import render_face
from fgnet_jax.data.synthetic.shape import MOVED

_SITTER = 10


def tile(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Lays images of one size (H, W, 3) out in rows; an unfilled last row is padded with black."""
    blank = [np.zeros_like(images[0])] * (-len(images) % columns)
    padded = [*images, *blank]
    rows = [np.concatenate(padded[k : k + columns], 1) for k in range(0, len(padded), columns)]
    return np.concatenate(rows)


def _captioned(image: np.ndarray, text: str) -> np.ndarray:
    canvas = Image.fromarray(image)
    ImageDraw.Draw(canvas).text((6, 6), text, fill=(255, 255, 255))
    return np.asarray(canvas)


def au_sheet(intensity: float = 4.0, *, who: Identity | None = None, columns: int = 4) -> np.ndarray:
    """One face at rest and showing each of the fifteen AUs alone, (H, W, 3) uint8.

    Args:
      intensity: Of every AU, 0 to 5.
      who: The person; by default always the same one.
      columns: Faces a row.
    """
    who = who or sample_identity(np.random.default_rng(_SITTER))
    faces = [_captioned(render_face(who, {}, View()).image, "neutral")]
    for au in MOVED:
        caption = f"{aus.label(au)} {aus.NAMES[au]}"
        faces.append(_captioned(render_face(who, {au: intensity}, View()).image, caption))
    return tile(faces, columns)


def intensity_sheet(au: int, *, who: Identity | None = None) -> np.ndarray:
    """One face showing an AU at intensities 0 to 5, side by side, (256, 6 * 256, 3) uint8."""
    who = who or sample_identity(np.random.default_rng(_SITTER))
    return tile([render_face(who, {au: k}, View()).image for k in range(6)], 6)
