"""Projection from face coordinates to pixels: head pose, then the framing of FFHQ alignment."""

import dataclasses
import math

import numpy as np

from fgnet_jax.data.synthetic.identity import Identity
from fgnet_jax.data.synthetic.shape import Shape

SIZE = 256
"""Side of a rendered image in pixels."""


@dataclasses.dataclass(frozen=True)
class View:
    """Viewing conditions of one frame: head pose, framing, light and camera.

    Attributes:
      yaw: Rotation to the right of the image, degrees.
      pitch: Rotation downwards, degrees.
      roll: In-plane rotation left over by an inexact alignment, degrees.
      shift: Framing error, pixels (x, y).
      zoom: Framing error, as a factor.
      light: Direction to the light (x right, y down, z towards the camera); normalised when used.
      ambient: Share of ambient light, 0 to 1.
      exposure: Gain of the camera.
      contrast: Slope of the camera's tone curve around middle grey.
      tint: Gain per channel, RGB.
      background: Colours at the top and the bottom, (2, 3).
      blur: Softness of the lens: passes of a [1, 2, 1] / 4 filter.
      noise: Standard deviation of the sensor's noise, in grey levels of 255.
      gaze: Gaze direction, (-1, -1) to (1, 1), x right and y down.
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
class Projection:
    """The map from face coordinates to pixels (centres at whole numbers), `points @ linear + depth * rise + offset`.

    Attributes:
      linear: (2, 2) float32: rotation and scale.
      rise: (2,) float32: displacement of a point per unit of `depth`, pixels.
      offset: (2,) float32, pixels.
      scale: Pixels per unit of face coordinates.
    """

    linear: np.ndarray
    rise: np.ndarray
    offset: np.ndarray
    scale: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Map face coordinates (N, 2) to pixels (N, 2), float32."""
        points = np.asarray(points, np.float32)
        pixels = points @ self.linear
        pixels += depth(points)[:, None] * self.rise
        pixels += self.offset
        return pixels


@dataclasses.dataclass(frozen=True)
class PosedFace:
    """A face with its projection: everything that decides the pixels.

    Attributes:
      identity: The subject's looks.
      shape: The face's geometry, as the AUs have it.
      projection: Maps the shape to pixels.
      view: Pose, light and camera.
    """

    identity: Identity
    shape: Shape
    projection: Projection
    view: View


_PIVOT = 40
"""Depth of the axes that a head rotates about."""

_SQUARES = np.array([(1 / 90**2, 1 / 13**2), (1 / 135**2, 1 / 17**2)], np.float32)
_LINEAR = np.array([(0, 0), (-2 * 12 / 135**2, -2 * 31 / 17**2)], np.float32)
_CONSTANT = np.array(((12 / 135) ** 2, (31 / 17) ** 2), np.float32)


def depth(points: np.ndarray) -> np.ndarray:
    """Compute the depth of a face's surface at (N, 2) face coordinates, in the same unit: an ellipsoid and a nose.

    The ellipsoid has half-axes of 90 and 135 around (0, 12) and is 48 deep; the nose is a Gaussian of deviations 13
    and 17 around (0, 31), 19 high (its exponent lacks the usual 1/2). One matrix product gives both squared distances,
    since this is called some twenty times a face.
    """
    away = (points * points) @ _SQUARES
    away += points @ _LINEAR
    away += _CONSTANT
    return 48 * np.sqrt(np.maximum(1 - away[:, 0], 0)) + 19 * np.exp(-away[:, 1])


def _rotation(yaw: float, pitch: float) -> Projection:
    """Return the orthographic projection of a head rotated by yaw and pitch (radians) about a point inside it."""
    sin, cos, nod = math.sin(yaw), math.cos(yaw), math.sin(pitch)
    linear = np.array([(cos, -sin * nod), (0, math.cos(pitch))], np.float32)
    rise = np.array((sin, cos * nod), np.float32)
    return Projection(linear=linear, rise=rise, offset=-_PIVOT * rise, scale=1.0)


def _perpendicular(v: np.ndarray) -> np.ndarray:
    return np.array((-v[1], v[0]))


def _ffhq_square(landmarks: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Compute centre, side and angle (radians) of the square that FFHQ alignment crops around 68 landmarks."""
    left, right = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
    across = right - left
    down = (landmarks[48] + landmarks[54]) / 2 - (left + right) / 2
    x = across - _perpendicular(down)
    x = x / np.hypot(*x) * max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down))
    return (left + right) / 2 + 0.1 * down, 2 * float(np.hypot(*x)), float(np.arctan2(x[1], x[0]))


def align_face(shape: Shape, view: View) -> Projection:
    """Compute the projection that FFHQ alignment by the face's own landmarks gives, with the view's framing errors."""
    head = _rotation(math.radians(view.yaw), math.radians(view.pitch))
    centre, side, angle = _ffhq_square(head(shape.landmarks))
    scale = SIZE / side * view.zoom
    angle = math.radians(view.roll) - angle
    sin, cos = scale * math.sin(angle), scale * math.cos(angle)
    rotation = np.array([(cos, sin), (-sin, cos)])
    offset = (SIZE - 1) / 2 + np.array(view.shift) + (head.offset - centre) @ rotation
    linear, rise = (part.astype(np.float32) for part in (head.linear @ rotation, head.rise @ rotation))
    return Projection(linear=linear, rise=rise, offset=offset.astype(np.float32), scale=scale)
