"""Landmarks that are on disk already: NumPy files whose paths mirror the images'.

Beside `IMAGES/F001/T1/02440.jpg` stands `LANDMARKS/F001/T1/02440.npy`, (68, 2), x then y in pixels of the image; a
video has one file, (frames, 68, 2). NaN where there is no face.
"""

from pathlib import Path

import numpy as np


def mirrored(landmarks: Path, root: Path, image: Path) -> Path:
    """Return the path of the landmarks of an image or video.

    Args:
      landmarks: Folder of all landmarks.
      root: Folder of all images.
      image: Image or video; where it is not below `root`, its name alone counts.
    """
    inner = image.relative_to(root) if image.is_relative_to(root) else Path(image.name)
    return (landmarks / inner).with_suffix(".npy")


def read_or_reason(path: Path) -> np.ndarray | str:
    """Read landmarks, float32 (68, 2) or (frames, 68, 2); returns the reason where they cannot be read."""
    try:
        points = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return f"no landmarks {path}"
    except (OSError, ValueError, EOFError) as error:
        return f"{path} cannot be read: {error}"
    if points.ndim not in (2, 3) or points.shape[-2:] != (68, 2) or points.dtype.kind not in "fiu":
        return f"{path} has shape {points.shape}: expected (68, 2), or (frames, 68, 2) of a video"
    return points.astype(np.float32)
