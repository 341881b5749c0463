"""Facial action units (AUs): names, the AUs of corpora and of the published weights, and each AU's place.

Constants only, and no imports from the rest of the package. Landmarks are dlib's 68 points, numbered from 0.
"""

import dataclasses

NAMES: dict[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    17: "chin raiser",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
}
"""FACS names of the fifteen AUs that FG-Net trains on BP4D or DISFA."""

SYNTHETIC = "synthetic_"
"""Prefix of the names of synthetic stand-ins for BP4D and DISFA."""

CORPUS_AUS: dict[str, tuple[int, ...]] = {
    "bp4d": (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
    "disfa": (1, 2, 4, 6, 9, 12, 25, 26),
}
"""AUs that each corpus' labels have here, in the order of their columns."""

PUBLISHED_CHANNELS: dict[str, tuple[int, ...]] = {
    "bp4d": (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
    "disfa": (1, 2, 4, 6, 9, 12, 25, 26),
}
"""AUs of FG-Net's published weights, by the corpus that they were trained on, in the order of their heatmap channels.

A fact about those files: it stays as it is when `CORPUS_AUS` gets further AUs or another order.
"""

SHARED_AUS: tuple[int, ...] = tuple(au for au in CORPUS_AUS["bp4d"] if au in CORPUS_AUS["disfa"])
"""AUs that both corpora have: a cross-corpus metric averages over these."""

PRESENT_INTENSITY = 2
"""FACS intensity (0 to 5) from which on an AU counts as present, in DISFA and in the synthetic corpora."""

MAX_INTENSITY = 5
"""The highest FACS intensity, E; 0 is absent."""


@dataclasses.dataclass(frozen=True)
class Centres:
    """Centres of the two blobs of an AU's target heatmap.

    Attributes:
      first: Landmarks whose mean is the first centre.
      second: Landmarks whose mean is the second centre.
      down: Offset of both towards the bottom of the image, in inter-ocular distances (|landmark 42 - landmark 39|).
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    down: float = 0.0


CENTRES: dict[int, Centres] = {
    1: Centres((21,), (22,)),
    2: Centres((17,), (26,)),
    4: Centres((17, 18, 19, 20, 21), (22, 23, 24, 25, 26)),
    6: Centres((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47), down=1.0),
    7: Centres((38,), (43,)),
    9: Centres((39,), (42,)),
    10: Centres((50,), (52,)),
    12: Centres((48,), (54,)),
    14: Centres((48,), (54,)),
    15: Centres((48,), (54,)),
    17: Centres((56,), (58,), down=0.5),
    23: Centres((51,), (57,)),
    24: Centres((51,), (57,)),
    25: Centres((51,), (57,)),
    26: Centres((56,), (58,)),
}
"""Published centres of each AU's target heatmap."""


def label(au: int) -> str:
    """Return the name of an AU in result tables, with two digits: `AU06` for 6."""
    return f"AU{au:02d}"
