"""Encodes faces to be stored; imports nothing heavy, since the workers that prepare or render faces import it."""

import io

import numpy as np
from PIL import Image

QUALITY = 95
"""JPEG quality of stored images: the loss is below a camera's noise, and they are fast to decode."""


def encode(image: np.ndarray) -> bytes:
    """Encode an image, (H, W, 3) uint8 RGB, as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
