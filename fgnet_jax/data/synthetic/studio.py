"""Recording conditions of the synthetic corpora: each has its own camera, light, framing and range of subjects.

The stand-in for BP4D has a bright, frontal studio with a sharp camera and strong, posed expressions. The stand-in for
DISFA has a dimmer room with a light from the side, a softer and noisier camera that frames the face tighter and lower,
other skin tones, and weaker, spontaneous expressions. A detector trained on one is visibly worse on the other.
"""

import dataclasses

import numpy as np

from fgnet_jax.data.synthetic.projection import View

Range = tuple[float, float]
"""Least and greatest value."""


@dataclasses.dataclass(frozen=True)
class Studio:
    """Ranges that the recording conditions of a corpus are sampled from.

    Attributes:
      side: Light from the left (-) or the right (+), as a direction's x.
      height: Light from above, as a direction's y (negative).
      ambient: Share of ambient light.
      exposure: Camera gain.
      contrast: Slope of the tone curve.
      tint: Gain per channel, RGB.
      noise: Sensor noise in grey levels.
      blur: Passes of the lens' filter, as in `View`.
      zoom: Framing as a factor of FFHQ's.
      shift: Framing offset in pixels, x and y.
      jitter: Standard deviation of the framing error in pixels.
      turn: Standard deviation of yaw in degrees; of pitch 0.7 times as much.
      tones: Range of skin tones, 0 lightest to 1 darkest.
      strength: How strongly expressions show.
      backdrop: Background colours at the top and the bottom.
    """

    side: Range
    height: Range
    ambient: Range
    exposure: Range
    contrast: float
    tint: tuple[float, float, float]
    noise: Range
    blur: int
    zoom: Range
    shift: tuple[float, float]
    jitter: float
    turn: float
    tones: Range
    strength: float
    backdrop: tuple[tuple[float, float, float], tuple[float, float, float]]


STUDIOS: dict[str, Studio] = {
    "bp4d": Studio(
        side=(-0.5, 0.5),
        height=(-0.7, -0.4),
        ambient=(0.42, 0.52),
        exposure=(0.95, 1.08),
        contrast=1.0,
        tint=(1.0, 1.0, 1.0),
        noise=(1.5, 3.0),
        blur=0,
        zoom=(0.98, 1.02),
        shift=(0.0, 0.0),
        jitter=1.2,
        turn=3.0,
        tones=(0.0, 0.75),
        strength=1.0,
        backdrop=((0.62, 0.66, 0.70), (0.45, 0.50, 0.55)),
    ),
    "disfa": Studio(
        side=(0.5, 1.1),
        height=(-0.9, -0.5),
        ambient=(0.30, 0.40),
        exposure=(0.72, 0.88),
        contrast=0.85,
        tint=(1.08, 1.0, 0.84),
        noise=(4.0, 7.0),
        blur=2,
        zoom=(1.06, 1.12),
        shift=(0.0, 6.0),
        jitter=1.8,
        turn=4.0,
        tones=(0.2, 1.0),
        strength=0.85,
        backdrop=((0.22, 0.20, 0.19), (0.13, 0.12, 0.12)),
    ),
}
"""Studio of each corpus' synthetic stand-in."""


def sample_views(rng: np.random.Generator, studio: Studio, frames: int) -> list[View]:
    """Sample the views of one sequence.

    Light and camera stay the same, head and gaze move smoothly, and the framing error is new in each frame.
    """
    fixed = {
        "light": (rng.uniform(*studio.side), rng.uniform(*studio.height), 0.85),
        "ambient": rng.uniform(*studio.ambient),
        "exposure": rng.uniform(*studio.exposure),
        "contrast": studio.contrast,
        "tint": studio.tint,
        "noise": rng.uniform(*studio.noise),
        "blur": studio.blur,
        "background": studio.backdrop,
    }
    zoom = rng.uniform(*studio.zoom)
    steps = rng.standard_normal((frames + 8, 4))
    wander = np.stack([np.convolve(column, np.full(9, 1 / 3), "valid") for column in steps.T], 1)
    views = []
    for k in range(frames):
        yaw, pitch, gaze_x, gaze_y = np.clip(wander[k], -2, 2).tolist()
        shift = (np.array(studio.shift) + studio.jitter * rng.standard_normal(2)).tolist()
        views.append(
            View(
                yaw=studio.turn * yaw,
                pitch=studio.turn * 0.7 * pitch,
                roll=float(rng.normal(0, 1.0)),
                shift=(shift[0], shift[1]),
                zoom=zoom * float(np.exp(0.008 * rng.standard_normal())),
                gaze=(0.4 * gaze_x, 0.4 * gaze_y),
                seed=int(rng.integers(2**31)),
                **fixed,
            )
        )
    return views
