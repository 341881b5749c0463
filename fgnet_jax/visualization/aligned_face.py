"""Drawing one aligned face: the heatmaps of its present AUs over it, and a legend of all AUs beside it."""

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from fgnet_jax.visualization import painting as brushes, legend as legends

FACE_SIDE = 640
"""Faces are drawn at this side in pixels, whatever the network's size, so that names stay readable."""


def draw(
    picture: np.ndarray, heatmaps: np.ndarray, scores: np.ndarray, present: np.ndarray, aus: Sequence[int]
) -> Image.Image:
    """Draws one face with its present AUs, and the legend to its right.

    Args:
      picture: uint8 (height, width, 3), square.
      heatmaps: float (h, w, K) in [-1, 1], over the whole picture.
      scores: (K,) in [-1, 1].
      present: (K,) bool.
      aus: The K AU numbers.

    Returns:
      An RGB picture, at least `FACE_SIDE` high.
    """
    side = FACE_SIDE
    face = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))
    seen = [k for k in range(len(aus)) if present[k]]
    painted = brushes.paint(face, [_enlarge(heatmaps[..., k], side) for k in seen], [aus[k] for k in seen])
    return legends.beside(painted, aus, [legends.Entry("", scores, present)])


def _enlarge(heatmap: np.ndarray, side: int) -> np.ndarray:
    """A heatmap at the size of the drawn face, smooth enough for rings."""
    image = Image.fromarray(np.asarray(heatmap, np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def file_names(sources: Sequence[str]) -> list[str]:
    """Names of PNG files for pictures, in the same order, all different on any file system.

    `a/smile.jpg` gives `smile.png`; where several sources would share that, folders are put in front (`a-smile.png`,
    `b-smile.png`), and what is still equal (one picture given twice) is numbered.
    """
    names = [_name(source, 1) for source in sources]
    for depth in (2, 3):
        counts: dict[str, int] = {}
        for name in names:
            counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
        names = [
            _name(source, depth) if counts[name.casefold()] > 1 else name
            for source, name in zip(sources, names, strict=True)
        ]
    taken: set[str] = set()
    return [f"{_number(name, taken)}.png" for name in names]


def _name(source: str, depth: int) -> str:
    """The last `depth` parts of a path, joined, without the ending; cut to what every file system takes."""
    parts = [part for part in os.path.splitext(source)[0].split(os.sep) if part not in ("", ".", "..")]
    name = "-".join(parts[-depth:]) or "picture"
    return name if len(os.fsencode(name)) <= 200 else name[-50:]


def _number(name: str, taken: set[str]) -> str:
    """`name`, or `name-2`, `name-3`, … where that is taken; marks it as taken."""
    candidate, count = name, 1
    while candidate.casefold() in taken:
        count += 1
        candidate = f"{name}-{count}"
    taken.add(candidate.casefold())
    return candidate
