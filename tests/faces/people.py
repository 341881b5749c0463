"""Scenes of people who cross, hide, and replace each other: rendered faces before a wall."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from fgnet_jax.data.synthetic.corpus import random_faces

SIZE = (480, 360)
"""Width and height of a scene."""

Placed = tuple[np.ndarray, int, int]
"""A person's face, and where its left upper corner is."""


def people(count: int = 3) -> list[np.ndarray]:
    """Render faces of people, of those that the recognition network takes for lookalikes the least."""
    images, _, _ = random_faces("synthetic_bp4d", 20, seed=3)
    chosen = [Image.fromarray(images[k]).resize((180, 180)).crop((16, 0, 164, 180)) for k in (3, 4, 7)]
    return [np.asarray(face) for face in chosen[:count]]


def scene(faces: Sequence[Placed], seed: int = 0) -> np.ndarray:
    """Draw people before a wall, the later ones in front; `seed` is the wall's."""
    wall = np.random.default_rng(seed).integers(60, 160, (9, 12, 3), np.uint8).repeat(40, 0).repeat(40, 1)
    for face, left, top in faces:
        height, width = face.shape[:2]
        y, x = np.mgrid[:height, :width]
        inside = ((y / height - 0.5) ** 2 + (x / width - 0.5) ** 2 < 0.25)[..., None]
        place = wall[top : top + height, left : left + width]
        place[:] = np.where(inside, face, place)
    return wall


def crossing(a: np.ndarray, b: np.ndarray) -> list[list[Placed]]:
    """Return two people who walk past each other, the first in front."""
    return [[(b, 320 - 10 * k, 80), (a, 10 + 10 * k, 70)] for k in range(32)]
