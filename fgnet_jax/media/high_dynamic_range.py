"""Maps video of a high dynamic range (BT.2100: PQ, HLG) to that of a usual screen, which networks are trained on.

White of a usual picture is at 203 cd/m² (BT.2408); what is brighter is compressed as BT.2390 says, hue kept.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

_PEAK = 1000.0  # cd/m²: of the screen for which such video is graded; what is brighter becomes white
_WHITE = 203.0  # cd/m²: of graphics and paper
_STEPS = 4096  # of the table of what a usual screen shows
_STRIP = 64  # rows that are converted at a time: arrays of floats then stay in the cache
_TO_BT709 = np.array(  # from BT.2020's primaries (BT.2087)
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020's primaries
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128  # of PQ (SMPTE ST 2084)
_A, _B, _C, _GAMMA = 0.17883277, 0.28466892, 0.55991073, 1.2  # of HLG (BT.2100), on a screen of 1000 cd/m²


@dataclasses.dataclass(frozen=True)
class Curve:
    """A transfer function.

    Attributes:
      name: Its name.
      light: Returns the light on the screen, in cd/m², of signals, uint16 (3, ...).
    """

    name: str
    light: Callable[[np.ndarray], np.ndarray]


def to_standard(signal: np.ndarray, curve: Curve) -> np.ndarray:
    """Convert an image.

    Args:
      signal: uint16 (height, width, 3), full range, with BT.2020's primaries.
      curve: How it is coded.

    Returns:
      uint8 (height, width, 3), sRGB.
    """
    image = np.empty(signal.shape, np.uint8)
    for first in range(0, len(signal), _STRIP):
        strip = slice(first, first + _STRIP)
        image[strip] = _converted(signal[strip], curve)
    return image


def _converted(signal: np.ndarray, curve: Curve) -> np.ndarray:
    """Convert some rows, in planes of a colour each."""
    light = curve.light(np.ascontiguousarray(signal.transpose(2, 0, 1)))
    brightest = np.minimum(np.maximum(np.maximum(light[0], light[1]), light[2]) / _PEAK, 1)
    light *= _GAIN[np.rint(np.sqrt(brightest) * (_STEPS - 1)).astype(np.uint16)]
    linear = np.clip(_TO_BT709 @ light.reshape(3, -1), 0, 1)
    return _SRGB[np.rint(linear * (len(_SRGB) - 1)).astype(np.uint16)].T.reshape(signal.shape)


def _pq_light(signal: np.ndarray) -> np.ndarray:
    """Return the light, in cd/m², of PQ's signals."""
    return _PQ_LIGHT[signal]


def _pq_exact(signal: np.ndarray) -> np.ndarray:
    root = signal ** (1 / _M2)
    return 10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)


def _pq_signal(light: np.ndarray) -> np.ndarray:
    """Return PQ's signals of light in cd/m²."""
    power = (light / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _hlg_light(signal: np.ndarray) -> np.ndarray:
    """Return the light, in cd/m², of HLG's signals on a screen of 1000 cd/m²."""
    scene = _HLG_SCENE[signal]
    return _PEAK * scene * np.tensordot(_LUMINANCE, scene, 1) ** (_GAMMA - 1)


def _hlg_scene(signal: np.ndarray) -> np.ndarray:
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12)


def _shown(light: np.ndarray) -> np.ndarray:
    """Compute BT.2390's compression from a screen of `_PEAK` to one of `_WHITE`, as shares of white."""
    peak, white = _pq_signal(np.array(_PEAK)), _pq_signal(np.array(_WHITE))
    signal, highest = np.minimum(_pq_signal(light) / peak, 1), float(white / peak)
    knee = 1.5 * highest - 0.5
    t = np.clip((signal - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * highest
    return _pq_exact(np.where(signal < knee, signal, spline) * peak) / _WHITE


def _srgb_table() -> np.ndarray:
    linear = np.linspace(0, 1, 65536)
    signal = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * signal).astype(np.uint8)


def _gain_table() -> np.ndarray:
    """Return the factors from cd/m² to shares of white, finer where it is dark; the first is for almost none."""
    light = np.linspace(0, 1, _STEPS) ** 2 * _PEAK
    light[0] = light[1] / 4
    return (_shown(light) / light).astype(np.float32)


_SIGNALS = np.linspace(0, 1, 65536)
_PQ_LIGHT, _HLG_SCENE = _pq_exact(_SIGNALS).astype(np.float32), _hlg_scene(_SIGNALS).astype(np.float32)
_SRGB, _GAIN = _srgb_table(), _gain_table()

CURVES = {16: Curve("PQ", _pq_light), 18: Curve("HLG", _hlg_light)}
"""Curves of a high dynamic range, by the number by which video declares them (H.273)."""
