"""Sheets of rendered faces for visual inspection.

python -m tests.data.synthetic.sheet aus.png
"""

import sys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fgnet_jax import aus
from fgnet_jax.data.synthetic.identity import Identity, sample_identity
from fgnet_jax.data.synthetic.projection import View
from fgnet_jax.data.synthetic.render import render_face
from fgnet_jax.data.synthetic.shape import RENDERED_AUS

_IDENTITY_SEED = 10


def tile(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Arrange images of one size (H, W, 3) in rows; an incomplete last row is padded with black."""
    blank = [np.zeros_like(images[0])] * (-len(images) % columns)
    padded = [*images, *blank]
    rows = [np.concatenate(padded[k : k + columns], 1) for k in range(0, len(padded), columns)]
    return np.concatenate(rows)


def _captioned(image: np.ndarray, text: str) -> np.ndarray:
    canvas = Image.fromarray(image)
    ImageDraw.Draw(canvas).text((6, 6), text, fill=(255, 255, 255))
    return np.asarray(canvas)


def au_sheet(intensity: float = 4.0, *, identity: Identity | None = None, columns: int = 4) -> np.ndarray:
    """Render one neutral face and one for each of the fifteen AUs alone, (H, W, 3) uint8.

    Args:
      intensity: Of every AU, 0 to 5.
      identity: The subject's looks; by default always the same.
      columns: Faces a row.
    """
    identity = identity or sample_identity(np.random.default_rng(_IDENTITY_SEED))
    faces = [_captioned(render_face(identity, {}, View()).image, "neutral")]
    for au in RENDERED_AUS:
        caption = f"{aus.label(au)} {aus.NAMES[au]}"
        faces.append(_captioned(render_face(identity, {au: intensity}, View()).image, caption))
    return tile(faces, columns)


def intensity_sheet(au: int, *, identity: Identity | None = None) -> np.ndarray:
    """Render one face showing an AU at intensities 0 to 5, side by side, (256, 6 * 256, 3) uint8."""
    identity = identity or sample_identity(np.random.default_rng(_IDENTITY_SEED))
    return tile([render_face(identity, {au: k}, View()).image for k in range(6)], 6)


if __name__ == "__main__":
    Image.fromarray(au_sheet()).save(sys.argv[1])
