"""Encodes faces to be stored; imports nothing heavy, since the workers that prepare or render faces import it."""

import io

import numpy as np
from PIL import Image

QUALITY = 95
"""JPEG quality of stored images: the loss is below a camera's noise, and they are fast to decode."""


def encode(image: np.ndarray, *, full_colour: bool = False) -> bytes:
    """Encode an image, (H, W, 3) uint8 RGB, as JPEG.

    Args:
      image: The image.
      full_colour: Whether colours have as many pixels as brightness (4:4:4), for small images; else half along a side.
    """
    buffer = io.BytesIO()
    options = {"subsampling": 0} if full_colour else {}
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY, **options)
    return buffer.getvalue()
