"""Landmarks that are on disk already: NumPy files that mirror the images' paths.

Beside `IMAGES/F001/T1/02440.jpg` stands `LANDMARKS/F001/T1/02440.npy`, (68, 2), x then y in pixels of the image; a
video has one file, (frames, 68, 2). NaN where there is no face.
"""

from pathlib import Path

import numpy as np


def mirrored(landmarks: Path, root: Path, image: Path) -> Path:
    """Where the landmarks of an image or video are: its path below `root` (elsewhere, its name) below `landmarks`."""
    inner = image.relative_to(root) if image.is_relative_to(root) else Path(image.name)
    return (landmarks / inner).with_suffix(".npy")


def read_or_reason(path: Path) -> np.ndarray | str:
    """Landmarks (68, 2) or (frames, 68, 2), or why there are none."""
    try:
        points = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return f"no landmarks {path}"
    except (OSError, ValueError, EOFError) as error:
        return f"{path} cannot be read: {error}"
    if points.ndim not in (2, 3) or points.shape[-2:] != (68, 2) or points.dtype.kind not in "fiu":
        return f"{path} has shape {points.shape}: expected (68, 2), or (frames, 68, 2) of a video"
    return points.astype(np.float32)
