"""Synthetic stand-ins for BP4D and DISFA: their subjects, sequences, AU intensities and rendered frames."""

import dataclasses
import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fgnet_jax import aus as aus_lib
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.data.jpeg import encode
from fgnet_jax.data.synthetic.identity import Identity, sample_identity
from fgnet_jax.data.synthetic.projection import View
from fgnet_jax.data.synthetic.render import RenderedFace, render_face
from fgnet_jax.data.synthetic.studio import STUDIOS, sample_views
from fgnet_jax.data.synthetic.tracks import smooth_tracks, subject_offsets, to_intensities
from fgnet_jax.runtime.workers import in_order

RECIPE = 1
"""Version of the corpora's bytes: to be raised when the same settings give other images, landmarks or labels.

It is part of the name of a prepared corpus, so that one prepared by former code is not used for the new one.
"""

RATE_FLOOR = 0.25
"""Least share of positive frames per AU unless other rates are given.

The published rates go down to 4 %, which is too few positives to learn from in the few thousand frames of a
demonstration; rates above the floor are the published ones.
"""


@dataclasses.dataclass(frozen=True)
class Recording:
    """One sequence of one subject.

    Attributes:
      identity: The subject's looks.
      subject: The subject's name in the corpus.
      sequence: The sequence's name.
      aus: AU numbers of the columns of `intensities`.
      intensities: (frames, K) float32, 0 to 5.
      views: One per frame.
    """

    identity: Identity
    subject: str
    sequence: str
    aus: tuple[int, ...]
    intensities: np.ndarray
    views: tuple[View, ...]

    def render(self, frame: int) -> RenderedFace:
        """Render one frame, counted from 0."""
        intensities = dict(zip(self.aus, self.intensities[frame].tolist(), strict=True))
        return render_face(self.identity, intensities, self.views[frame])


def base_rates(corpus: str, floor: float = RATE_FLOOR) -> dict[int, float]:
    """Return the published share of positive frames per AU, none below the floor; `floor=0` gives the published."""
    return {au: max(rate, floor) for au, rate in folds_lib.BASE_RATES[folds_lib.family(corpus)].items()}


def labels(intensities: np.ndarray) -> np.ndarray:
    """Return 1 where an AU is present (intensity 2 of 5 or more), else 0; int8, same shape."""
    return (intensities >= aus_lib.PRESENT_INTENSITY).astype(np.int8)


def _generator(seed: int, *names: str) -> np.random.Generator:
    """Return a random generator that depends on a seed and on names alone, not on what was sampled before."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def subject_identity(corpus: str, subject: str, seed: int = 0) -> Identity:
    """Sample the looks of a subject; a name that begins with F or M tells the sex."""
    family = folds_lib.family(corpus)
    studio = STUDIOS[family]
    female = {"F": True, "M": False}.get(subject[0])
    identity = sample_identity(_generator(seed, family, subject), female=female, tones=studio.tones)
    return dataclasses.replace(identity, strength=identity.strength * studio.strength)


def _counts(total: int, parts: int) -> list[int]:
    return [total // parts + (k < total % parts) for k in range(parts)]


def recordings(corpus: str, frames: int, *, seed: int = 0, rates: Mapping[int, float] | None = None) -> list[Recording]:
    """Plan a whole corpus without rendering it: cheap, and the same for the same arguments.

    Args:
      corpus: `synthetic_bp4d` or `synthetic_disfa` (or the name of the corpus that it stands in for).
      frames: Frames in all, spread evenly over subjects and sequences.
      seed: Seed of identities, tracks and views.
      rates: Share of positive frames per AU; those left out are as in `base_rates`.

    Returns:
      Every sequence, by subject in the published order, then by sequence; sequences without a frame are left out.

    Raises:
      ValueError: for an unknown corpus, an AU that it lacks, or a rate or a count out of range.
    """
    family = folds_lib.family(corpus)
    all_rates = _checked_rates(family, frames, rates)
    aus = aus_lib.CORPUS_AUS[family]
    names = [(s, q) for q in folds_lib.SEQUENCES[family] for s in _by_turns(folds_lib.FOLDS[family])]
    planned = [(s, q, n) for (s, q), n in zip(names, _counts(frames, len(names)), strict=True) if n]
    tracks = [_tracks(family, subject, sequence, frames=count, seed=seed) for subject, sequence, count in planned]
    intensities = to_intensities(np.concatenate(tracks), [all_rates[au] for au in aus])
    ends = np.cumsum([n for _, _, n in planned])[:-1]
    result = [
        Recording(
            identity=subject_identity(family, subject, seed),
            subject=subject,
            sequence=sequence,
            aus=aus,
            intensities=part,
            views=_views(family, subject, sequence, frames=len(part), seed=seed),
        )
        for (subject, sequence, _), part in zip(planned, np.split(intensities, ends), strict=True)
    ]
    order = {name: k for k, name in enumerate(folds_lib.subjects(family))}
    return sorted(result, key=lambda r: (order[r.subject], r.sequence))


def _tracks(family: str, subject: str, sequence: str, *, frames: int, seed: int) -> np.ndarray:
    """Sample the AUs' tracks of one sequence, (frames, K)."""
    aus = aus_lib.CORPUS_AUS[family]
    offsets = subject_offsets(_generator(seed, family, subject, "habit"), aus)
    return offsets + smooth_tracks(_generator(seed, family, subject, sequence, "tracks"), frames, aus)


def _views(family: str, subject: str, sequence: str, *, frames: int, seed: int) -> tuple[View, ...]:
    """Sample the views of one sequence."""
    return tuple(sample_views(_generator(seed, family, subject, sequence, "views"), STUDIOS[family], frames))


def _by_turns(folds: Sequence[Sequence[str]]) -> list[str]:
    """List the subjects of all folds, one of each fold in turn, so that every fold of a small corpus has frames."""
    turns = itertools.zip_longest(*folds)
    return [name for turn in turns for name in turn if name is not None]


def _checked_rates(family: str, frames: int, rates: Mapping[int, float] | None) -> dict[int, float]:
    if frames < folds_lib.NUM_FOLDS:
        raise ValueError(
            f"cannot make a corpus of {frames} frames: expected at least one per fold, {folds_lib.NUM_FOLDS}"
        )
    all_rates = base_rates(family)
    for au, rate in (rates or {}).items():
        if au not in all_rates:
            raise ValueError(f"{family} has no AU {au}: expected one of {sorted(all_rates)}")
        if not 0 <= rate <= 1:
            raise ValueError(f"base rate of AU {au} is {rate}: expected a share between 0 and 1")
        all_rates[au] = rate
    return all_rates


EncodedFrames = list[tuple[bytes, np.ndarray]]
"""Encoded image and landmarks per frame of a recording."""


def encode_frames(recording: Recording) -> EncodedFrames:
    """Render and encode all frames of a recording."""
    faces = [recording.render(k) for k in range(len(recording.views))]
    return [(encode(face.image), face.landmarks) for face in faces]


def encode_all(items: Sequence[Recording], workers: int = 1) -> Iterator[tuple[Recording, EncodedFrames]]:
    """Render and encode recordings in order.

    Args:
      items: The recordings.
      workers: Processes that render; with 1 the calling process does.
    """
    if workers <= 1:
        yield from ((item, encode_frames(item)) for item in items)
        return
    yield from zip(items, in_order(encode_frames, items, workers), strict=True)


def random_faces(
    corpus: str, count: int, *, seed: int = 0, rates: Mapping[int, float] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render faces of a synthetic corpus, of different sequences as far as there are enough: for tests and benchmarks.

    Returns:
      Images (N, 256, 256, 3) uint8, landmarks (N, 68, 2) float32, labels (N, K) int8.
    """
    items = recordings(corpus, count, seed=seed, rates=rates)
    faces = [item.render(k) for item in items for k in range(len(item.views))]
    intensities = np.concatenate([item.intensities for item in items])
    return np.stack([f.image for f in faces]), np.stack([f.landmarks for f in faces]), labels(intensities)
