"""From face coordinates to pixels: turning the head, and framing it as FFHQ alignment does."""

import dataclasses
import math

import numpy as np

from fgnet_jax.data.synthetic.shape import Shape

SIZE = 256
"""Side of a rendered picture in pixels."""


@dataclasses.dataclass(frozen=True)
class View:
    """How a face is looked at: pose, framing, light and camera.

    Attributes:
      yaw: Turn to the right of the picture, degrees.
      pitch: Turn downwards, degrees.
      roll: Tilt left over by a misplaced alignment, degrees.
      shift: Framing error, pixels (x, y).
      zoom: Framing error, as a factor.
      light: Direction to the light (x right, y down, z towards the camera); normalised when used.
      ambient: Share of light that comes from everywhere, 0 to 1.
      exposure: Gain of the camera.
      contrast: Slope of the camera's tone curve around middle grey.
      tint: Gain per channel, RGB.
      background: Colours at the top and the bottom, (2, 3).
      blur: How soft the lens is: passes of a [1, 2, 1] / 4 filter.
      noise: Standard deviation of the sensor's noise, in grey levels of 255.
      gaze: Where the eyes look, (-1, -1) to (1, 1), x right and y down.
      seed: Seed of the noise.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0
    light: tuple[float, float, float] = (-0.35, -0.55, 0.8)
    ambient: float = 0.45
    exposure: float = 1.0
    contrast: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    background: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0.62, 0.66, 0.7), (0.45, 0.5, 0.55))
    blur: int = 0
    noise: float = 2.0
    gaze: tuple[float, float] = (0.0, 0.0)
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Frame:
    """The map from face coordinates to pixels (pixel centres at whole numbers).

    Attributes:
      yaw: Radians.
      pitch: Radians.
      matrix: (2, 3) similarity applied after turning.
      scale: Pixels per unit of face coordinates.
    """

    yaw: float
    pitch: float
    matrix: np.ndarray
    scale: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Maps face coordinates (N, 2) to pixels (N, 2), float32."""
        turned = turn(np.asarray(points, np.float32), self.yaw, self.pitch)
        return turned @ self.matrix[:, :2].T + self.matrix[:, 2]


def depth(points: np.ndarray) -> np.ndarray:
    """How far the surface of a face stands out at (N, 2) face coordinates, in that unit: an ellipsoid and a nose."""
    x, y = points[:, 0], points[:, 1]
    bowl = np.sqrt(np.maximum(1 - (x / 90) ** 2 - ((y - 12) / 135) ** 2, 0))
    nose = np.exp(-((x / 13) ** 2) - ((y - 31) / 17) ** 2)
    return 48 * bowl + 19 * nose


def turn(points: np.ndarray, yaw: float, pitch: float) -> np.ndarray:
    """Turns face coordinates (N, 2) by yaw and pitch (radians) and projects them in parallel."""
    z = depth(points) - 40
    out = np.empty_like(points)
    out[:, 0] = points[:, 0] * math.cos(yaw) + z * math.sin(yaw)
    back = z * math.cos(yaw) - points[:, 0] * math.sin(yaw)
    out[:, 1] = points[:, 1] * math.cos(pitch) + back * math.sin(pitch)
    return out


def _rotate(v: np.ndarray) -> np.ndarray:
    return np.array((-v[1], v[0]))


def _aligned(landmarks: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Centre, side and angle of the square that FFHQ alignment cuts out around 68 landmarks."""
    left, right = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
    across = right - left
    down = (landmarks[48] + landmarks[54]) / 2 - (left + right) / 2
    x = across - _rotate(down)
    x = x / np.hypot(*x) * max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down))
    return (left + right) / 2 + 0.1 * down, 2 * float(np.hypot(*x)), float(np.arctan2(x[1], x[0]))


def frame_face(shape: Shape, view: View) -> Frame:
    """Frames a face by the FFHQ recipe on its own landmarks, off by the view's errors."""
    yaw, pitch = np.deg2rad(view.yaw), np.deg2rad(view.pitch)
    centre, side, angle = _aligned(turn(shape.landmarks, yaw, pitch))
    scale = SIZE / side * view.zoom
    angle = np.deg2rad(view.roll) - angle
    rotation = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    offset = (SIZE - 1) / 2 + np.array(view.shift) - rotation @ centre
    matrix = np.concatenate([rotation, offset[:, None]], 1).astype(np.float32)
    return Frame(float(yaw), float(pitch), matrix, float(scale))
