"""How stored faces are encoded; imports nothing heavy, since workers that make faces start with it."""

import io

import numpy as np
from PIL import Image

QUALITY = 95
"""Of stored images: the loss lies under a camera's own noise, and they are quick to decode."""


def encode(image: np.ndarray) -> bytes:
    """JPEG of a (H, W, 3) uint8 RGB image, as faces are stored."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
