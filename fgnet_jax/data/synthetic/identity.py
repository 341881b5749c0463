"""The identity of a synthetic face: proportions, colours, hair and how strongly the subject expresses."""

import dataclasses

import numpy as np

SKIN = np.array(
    [
        (0.96, 0.82, 0.74),
        (0.93, 0.76, 0.65),
        (0.87, 0.68, 0.54),
        (0.78, 0.58, 0.43),
        (0.66, 0.46, 0.33),
        (0.52, 0.35, 0.25),
    ],
    np.float32,
)
"""Skin albedo from the lightest to the darkest, RGB in [0, 1]."""

HAIR = np.array(
    [
        (0.08, 0.06, 0.06),
        (0.20, 0.13, 0.09),
        (0.34, 0.22, 0.13),
        (0.62, 0.45, 0.25),
        (0.48, 0.22, 0.11),
        (0.5, 0.5, 0.5),
    ],
    np.float32,
)
"""Hair colours: black, dark brown, brown, blond, red, grey."""

IRIS = np.array([(0.25, 0.15, 0.09), (0.38, 0.27, 0.14), (0.30, 0.42, 0.30), (0.30, 0.45, 0.60)], np.float32)
"""Iris colours: dark brown, hazel, green, blue."""

HAIR_STYLES = ("short", "long", "bob", "fringe", "buzz", "tied")
"""How the hair is worn."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """The looks of one synthetic subject.

    Factors are relative to the mean face (1 is average); offsets are in pixels of a 256x256 aligned face.

    Attributes:
      face_width: Width of the whole face.
      jaw_width: Width of the jaw relative to the face.
      chin: How far the chin is moved down.
      forehead: How far the hairline is moved up.
      eye_distance: Distance of the eyes from the middle.
      eye_width: Length of the lid slit.
      eye_open: Height of the lid slit at rest.
      eye_tilt: How far the outer corners are moved up.
      brow_height: How far the brows are moved up.
      brow_thick: Thickness of the brows.
      brow_tilt: How far the outer ends are moved up.
      nose_length: Length of the nose.
      nose_width: Width of the nose.
      mouth_width: Width of the mouth.
      mouth_down: How far the mouth is moved down.
      upper_lip: Fullness of the upper lip.
      lower_lip: Fullness of the lower lip.
      skin: Skin albedo, RGB in [0, 1].
      lips: Lip albedo, RGB.
      hair: Hair albedo, RGB.
      iris: Iris albedo, RGB.
      shirt: Colour of the clothes, RGB.
      hair_style: One of `HAIR_STYLES`.
      stubble: Darkness of the beard's shadow, 0 to 1.
      age: Depth of the creases that stay at rest, 0 to 1.
      strength: How strongly intensities show on this subject.
      asymmetry: Difference between the sides: the left side moves (1 + asymmetry) times as far, the right side
        (1 - asymmetry) times.
      texture_seed: Seed of hairs and spots, which stay the same on every image of the subject.
    """

    face_width: float
    jaw_width: float
    chin: float
    forehead: float
    eye_distance: float
    eye_width: float
    eye_open: float
    eye_tilt: float
    brow_height: float
    brow_thick: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    mouth_width: float
    mouth_down: float
    upper_lip: float
    lower_lip: float
    skin: np.ndarray
    lips: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    shirt: np.ndarray
    hair_style: str
    stubble: float
    age: float
    strength: float
    asymmetry: float
    texture_seed: int


def _around(rng: np.random.Generator, mean: float, deviation: float) -> float:
    """Sample a normal value clipped at two standard deviations, so that no face leaves the human range."""
    return float(mean + deviation * np.clip(rng.standard_normal(), -2, 2))


def _proportions(rng: np.random.Generator) -> dict[str, float]:
    return {
        "face_width": _around(rng, 1.0, 0.04),
        "jaw_width": _around(rng, 1.0, 0.05),
        "chin": _around(rng, 0.0, 2.5),
        "forehead": _around(rng, 0.0, 3.5),
        "eye_distance": _around(rng, 1.0, 0.03),
        "eye_width": _around(rng, 1.0, 0.05),
        "eye_open": _around(rng, 1.0, 0.08),
        "eye_tilt": _around(rng, 0.8, 1.0),
        "brow_height": _around(rng, 0.0, 1.2),
        "brow_thick": _around(rng, 1.0, 0.2),
        "brow_tilt": _around(rng, 0.0, 1.0),
        "nose_length": _around(rng, 1.0, 0.05),
        "nose_width": _around(rng, 1.0, 0.1),
        "mouth_width": _around(rng, 1.0, 0.045),
        "mouth_down": _around(rng, 0.0, 1.5),
        "upper_lip": _around(rng, 1.0, 0.12),
        "lower_lip": _around(rng, 1.0, 0.12),
    }


def _tone(rng: np.random.Generator, tones: tuple[float, float]) -> np.ndarray:
    """Sample a skin colour between two positions on the scale of `SKIN`, each 0 (lightest) to 1 (darkest)."""
    position = rng.uniform(*tones) * (len(SKIN) - 1)
    scale = np.arange(len(SKIN))
    colour = np.array([np.interp(position, scale, SKIN[:, c]) for c in range(3)], np.float32)
    return np.clip(colour + rng.normal(0, 0.012, 3), 0, 1).astype(np.float32)


def sample_identity(
    rng: np.random.Generator, *, female: bool | None = None, tones: tuple[float, float] = (0.0, 1.0)
) -> Identity:
    """Sample an identity.

    Args:
      rng: Random generator.
      female: The subject's sex as far as it shows (hair, brows, lips, stubble); sampled if None.
      tones: Range of skin tones, 0 the lightest and 1 the darkest.
    """
    female = bool(rng.random() < 0.5) if female is None else female
    proportions = _proportions(rng)
    if female:
        proportions["jaw_width"] -= 0.03
        proportions["brow_thick"] *= 0.8
        proportions["upper_lip"] *= 1.08
    skin = _tone(rng, tones)
    dark = 1.0 - float(skin.mean())
    hair = HAIR[
        rng.choice(len(HAIR), p=[0.3, 0.25, 0.2, 0.12, 0.06, 0.07] if dark < 0.35 else [0.7, 0.25, 0, 0, 0, 0.05])
    ]
    iris = IRIS[rng.choice(len(IRIS), p=[0.35, 0.25, 0.15, 0.25] if dark < 0.35 else [0.85, 0.15, 0, 0])]
    rouge = rng.uniform(0.15, 0.5) if female else rng.uniform(0.0, 0.2)
    lips = skin * np.array((0.86, 0.60, 0.60)) * (1 - rouge) + np.array((0.68, 0.20, 0.25)) * rouge
    style = rng.choice(HAIR_STYLES, p=[0.05, 0.35, 0.25, 0.2, 0, 0.15] if female else [0.6, 0.03, 0.02, 0.12, 0.23, 0])
    return Identity(
        **proportions,
        skin=skin,
        lips=lips.astype(np.float32),
        hair=np.clip(hair * rng.uniform(0.8, 1.2), 0, 1).astype(np.float32),
        iris=np.clip(iris * rng.uniform(0.85, 1.15), 0, 1).astype(np.float32),
        shirt=rng.uniform(0.08, 0.8, 3).astype(np.float32),
        hair_style=str(style),
        stubble=0.0 if female else float(rng.uniform(0, 0.55) * (rng.random() < 0.6)),
        age=float(rng.beta(1.3, 3.0)),
        strength=_around(rng, 1.0, 0.05),
        asymmetry=_around(rng, 0.0, 0.05),
        texture_seed=int(rng.integers(2**31)),
    )
