"""Geometry of a synthetic face: positions of brows, lids, nose, lips and jaw for an identity and AU intensities.

Face coordinates: pixels of a nominal 256x256 aligned face, origin midway between the eyes, x to the right of the
image, y down. Every feature is first described for one half of the face with x pointing away from the middle, then
mirrored.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from fgnet_jax.data.synthetic.identity import Identity

MAX_INTENSITY = 5.0
"""FACS intensities run from 0 (absent) to 5 (E, maximal)."""

RENDERED_AUS = (1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 23, 24, 25, 26)
"""The AUs that the renderer can show."""

LID_STEPS = np.linspace(-1, 1, 17, dtype=np.float32)
LIP_STEPS = np.linspace(-1, 1, 29, dtype=np.float32)
_LID_LANDMARK = 0.36
_LID_WEIGHTS = np.array(
    [np.interp((-_LID_LANDMARK, _LID_LANDMARK), LID_STEPS, unit) for unit in np.eye(len(LID_STEPS))]
).T
"""(2, 17): interpolates the two landmarks between the corners from a lid's points."""

_UPPER_OUTER = np.array((-1, -0.64, -0.27, 0, 0.27, 0.64, 1), np.float32)
_LOWER_OUTER = np.array((0.62, 0.28, 0, -0.28, -0.62), np.float32)
_UPPER_INNER = np.array((-0.85, -0.3, 0, 0.3, 0.85), np.float32)
_LOWER_INNER = np.array((0.3, 0, -0.3), np.float32)
_LIP_LANDMARKS = (_UPPER_OUTER, _UPPER_INNER, _LOWER_INNER, _LOWER_OUTER)
_LIP_TS = np.concatenate([LIP_STEPS, *_LIP_LANDMARKS])
"""Positions at which the lips' curves are computed: in steps for painting, then at the landmarks of each curve."""

_JAW = np.array(
    [(77, -2), (76.5, 18), (74, 38), (69, 57), (60, 75), (47, 90), (32, 101), (16, 107.5), (0, 109.5)], np.float32
)
_BROW = np.array([(57, -19), (49.5, -25), (38.5, -27.5), (26.5, -26), (14.5, -22)], np.float32)
_NOSE = np.array([(13, 39), (7, 41.5), (0, 43.5)], np.float32)
_BRIDGE = np.array([(0, -2), (0, 9.5), (0, 21), (0, 32)], np.float32)


@dataclasses.dataclass(frozen=True)
class Half:
    """One half of the face, in coordinates whose x points away from the middle.

    Attributes:
      amount: Eased strength of every AU, indexed by AU number, about 0 to 1.
      brow: (5, 2) points from the outer end inwards.
      upper_lid: (17, 2) points from the outer corner inwards.
      lower_lid: (17, 2) points from the outer corner inwards.
      nose: (3, 2) points from the wing to below the tip.
      jaw: (9, 2) points from the ear to the chin.
    """

    amount: np.ndarray
    brow: np.ndarray
    upper_lid: np.ndarray
    lower_lid: np.ndarray
    nose: np.ndarray
    jaw: np.ndarray


@dataclasses.dataclass(frozen=True)
class Lips:
    """Four (29, 2) curves of the mouth from the left corner to the right one, in face coordinates."""

    upper_outer: np.ndarray
    upper_inner: np.ndarray
    lower_inner: np.ndarray
    lower_outer: np.ndarray


@dataclasses.dataclass(frozen=True)
class Shape:
    """A face before it is rotated and projected.

    Attributes:
      halves: The left and the right half (of the image).
      lips: The mouth.
      bridge: (4, 2) points down the nose.
      landmarks: (68, 2) float32, dlib's numbering, in face coordinates.
    """

    halves: tuple[Half, Half]
    lips: Lips
    bridge: np.ndarray
    landmarks: np.ndarray


def ease(intensity: np.ndarray | float) -> np.ndarray:
    """Compute how much of an AU shows at an intensity from 0 to 5: little below 1, most from 3 on, smooth between."""
    x = np.clip(np.asarray(intensity, np.float32) / MAX_INTENSITY, 0, 1)
    return x * x * (3 - 2 * x)


def amounts(intensities: Mapping[int, float], strength: float) -> np.ndarray:
    """Compute eased strengths indexed by AU number, (27,) float32.

    Raises:
      ValueError: for an AU that is not in `RENDERED_AUS`.
    """
    amount = np.zeros(max(RENDERED_AUS) + 1, np.float32)
    for au, intensity in intensities.items():
        if au not in RENDERED_AUS:
            raise ValueError(f"cannot render AU {au}: expected one of {sorted(RENDERED_AUS)}")
        amount[au] = intensity
    return ease(amount) * strength


def _brow(identity: Identity, a: np.ndarray) -> np.ndarray:
    points = _BROW.copy()
    points[:, 0] *= 0.5 + 0.5 * identity.eye_distance
    inner = np.array((0, 0.06, 0.28, 0.72, 1), np.float32)
    outer = np.array((0.75, 1, 0.85, 0.35, 0), np.float32)
    lift = identity.brow_height + identity.brow_tilt * (1 - inner)
    lift = lift + 11 * a[1] * inner + 11 * a[2] * outer
    lift = lift - a[4] * (5 + 4.5 * inner) - a[9] * 3.0 * inner - a[6] * 1.0 * outer
    points[:, 1] -= lift
    points[:, 0] -= a[4] * 5.5 * (0.3 + 0.7 * inner)
    return points


def _lids(identity: Identity, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre, half = 32 * identity.eye_distance, 14.3 * identity.eye_width
    x = centre - half * LID_STEPS
    tilt = identity.eye_tilt * LID_STEPS
    up = 6.6 * identity.eye_open * (1 + 0.10 * (a[1] + a[2]) - 0.12 * a[4] - 0.08 * a[6] - 0.38 * a[7] - 0.1 * a[9])
    down = 4.6 * identity.eye_open * (1 - 0.30 * a[6] - 0.90 * a[7] - 0.25 * a[9] - 0.08 * a[12])
    bow = np.abs(LID_STEPS)
    upper = tilt - max(up, 0.8) * (1 - bow**2.3)
    lower = tilt + max(down, 0.3) * (1 - bow**2.0)
    return np.stack([x, upper], 1), np.stack([x, lower], 1)


def _nose(identity: Identity, a: np.ndarray) -> np.ndarray:
    points = _NOSE * (identity.nose_width, identity.nose_length)
    lift = np.array((1, 0.7, 0.35), np.float32)
    points[:, 1] -= (5.5 * a[9] + 2.0 * a[10]) * lift
    points[:, 0] += (2.0 * a[9] + 1.2 * a[12] + 1.0 * a[10]) * np.array((1, 0.3, 0), np.float32)
    return points


def _jaw(identity: Identity, a: np.ndarray) -> np.ndarray:
    down = np.clip((_JAW[:, 1] - 10) / 100, 0, 1)
    points = _JAW.copy()
    points[:, 0] *= identity.face_width * (1 + (identity.jaw_width - 1) * down)
    points[:, 1] += identity.chin * down**2 + 15 * a[26] * down**1.5
    chin = np.clip((_JAW[:, 1] - 85) / 24, 0, 1)
    points[:, 1] -= 4.5 * a[17] * chin
    points[:, 0] -= 3.0 * a[26] * np.sin(np.pi * down)
    return points


def _half(identity: Identity, a: np.ndarray) -> Half:
    upper, lower = _lids(identity, a)
    return Half(
        amount=a,
        brow=_brow(identity, a),
        upper_lid=upper,
        lower_lid=lower,
        nose=_nose(identity, a),
        jaw=_jaw(identity, a),
    )


def _seam(identity: Identity, left: np.ndarray, right: np.ndarray, *, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute x and y of the line where the lips meet, at positions t from -1 (left corner) to 1."""
    side = ((1 - t)[:, None] * left + (1 + t)[:, None] * right) / 2
    a = (left + right) / 2
    width = (
        24.5 * identity.mouth_width * (1 + 0.36 * side[:, 12] - 0.30 * a[23] + 0.05 * side[:, 15] + 0.07 * side[:, 14])
    )
    width = width * (1 - 0.08 * a[17] - 0.06 * a[26] * a[25] + 0.04 * a[24])
    bow = np.abs(t)
    corner = -10.5 * side[:, 12] + 9.5 * side[:, 15] + 2.0 * a[26]
    middle = 1.5 * a[12] - 1.0 * a[15] - 5.0 * a[17] - 1.5 * a[10] + 3.5 * a[26]
    y = 66.5 + identity.mouth_down + middle * (1 - bow**2) + corner * bow**2.2
    return width * t, y


def _gaps(a: np.ndarray) -> tuple[float, float]:
    """Compute how far the lips part upwards and downwards at the middle."""
    up = 2.2 * a[25] + 4.0 * a[10] + 1.0 * a[12] * a[25]
    down = 5.2 * a[25] + 13.0 * a[26] * min(1.0, 1.5 * a[25])
    return up * (1 - 0.8 * a[24]), down


def _thickness(identity: Identity, a: np.ndarray) -> tuple[float, float]:
    """Compute the height of the upper and the lower lip at the middle."""
    thin = (1 - 0.82 * a[24]) * (1 - 0.42 * a[23]) * (1 - 0.18 * a[12])
    upper = 7.4 * identity.upper_lip * thin * (1 - 0.15 * a[10])
    lower = 10.6 * identity.lower_lip * thin * (1 + 0.15 * a[17] - 0.10 * a[15] + 0.15 * a[26])
    return upper, lower


def _lip_curves(identity: Identity, left: np.ndarray, right: np.ndarray, *, t: np.ndarray) -> tuple[np.ndarray, ...]:
    """Compute the upper outer, upper inner, lower inner and lower outer curve, each (len(t), 2)."""
    a = (left + right) / 2
    x, y = _seam(identity, left, right, t=t)
    bow = np.abs(t)
    open_up, open_down = _gaps(a)
    up, down = _thickness(identity, a)
    arch = np.clip(1 - bow**2, 0, 1)
    upper_inner = y - open_up * arch**0.9
    lower_inner = y + open_down * arch**0.75
    cupid = 1 - 0.16 * np.exp(-((t / 0.13) ** 2)) * (1 - a[10] * 0.5)
    flare = np.exp(-(((bow - 0.38) / 0.25) ** 2))
    upper_outer = upper_inner - up * cupid * np.clip(1 - bow**1.5, 0, 1) - a[10] * 3.0 * flare
    lower_outer = lower_inner + down * np.clip(1 - bow**2.4, 0, 1)
    return tuple(np.stack([x, c], 1) for c in (upper_outer, upper_inner, lower_inner, lower_outer))


def _lips(identity: Identity, left: np.ndarray, right: np.ndarray) -> tuple[Lips, np.ndarray]:
    """Compute the mouth, and landmarks 48 to 67, (20, 2), from the same curves."""
    curves = _lip_curves(identity, left, right, t=_LIP_TS)
    bounds = np.cumsum([len(LIP_STEPS), *map(len, _LIP_LANDMARKS)])
    outer, inner, lower_inner, lower_outer = (
        curve[start:stop] for curve, start, stop in zip(curves, bounds[:-1], bounds[1:], strict=True)
    )
    painted = [curve[: len(LIP_STEPS)] for curve in curves]
    lips = Lips(upper_outer=painted[0], upper_inner=painted[1], lower_inner=painted[2], lower_outer=painted[3])
    return lips, np.concatenate([outer, lower_outer, inner, lower_inner])


def _eye_landmarks(half: Half) -> np.ndarray:
    """Compute landmarks 36 to 41, (6, 2): outer corner, two on the upper lid, inner corner, two on the lower lid."""
    up, low = _LID_WEIGHTS @ half.upper_lid, _LID_WEIGHTS @ half.lower_lid
    return np.stack([half.upper_lid[0], *up, half.upper_lid[-1], *low[::-1]])


def _mirror(points: np.ndarray) -> np.ndarray:
    return points * (-1, 1)


def _landmarks(left: Half, right: Half, *, bridge: np.ndarray, mouth: np.ndarray) -> np.ndarray:
    eye_left, eye_right = _eye_landmarks(left), _eye_landmarks(right)
    tip = (left.nose[2:] + right.nose[2:]) / 2
    chin = (left.jaw[8:] + right.jaw[8:]) / 2
    parts = [
        _mirror(left.jaw[:8]),
        chin,
        right.jaw[7::-1],
        _mirror(left.brow),
        right.brow[::-1],
        bridge,
        _mirror(left.nose[:2]),
        tip,
        right.nose[1::-1],
        _mirror(eye_left),
        eye_right[[3, 2, 1, 0, 5, 4]],
        mouth,
    ]
    return np.concatenate(parts).astype(np.float32)


def face_shape(identity: Identity, intensities: Mapping[int, float]) -> Shape:
    """Compute the face of an identity that shows AUs.

    Args:
      identity: The subject's looks.
      intensities: Intensity (0 to 5) per AU number; AUs left out are absent.

    Raises:
      ValueError: for an AU that is not in `RENDERED_AUS`.
    """
    a = amounts(intensities, identity.strength)
    left, right = _half(identity, a * (1 + identity.asymmetry)), _half(identity, a * (1 - identity.asymmetry))
    lips, mouth = _lips(identity, left.amount, right.amount)
    bridge = _BRIDGE * (1.0, identity.nose_length)
    bridge[:, 1] -= 2.5 * a[9] * np.array((0, 0.3, 0.7, 1))
    landmarks = _landmarks(left, right, bridge=bridge, mouth=mouth)
    return Shape(halves=(left, right), lips=lips, bridge=bridge, landmarks=landmarks)
