"""Synthetic twins of BP4D and DISFA: who is recorded, in which frames, showing what, and the drawing of it."""

import dataclasses
import hashlib
import itertools
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fgnet_jax import aus as aus_lib
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.data.jpeg import encode
from fgnet_jax.data.synthetic.identity import Identity, sample_identity
from fgnet_jax.data.synthetic.projection import View
from fgnet_jax.data.synthetic.render import RenderedFace, render_face
from fgnet_jax.data.synthetic.studio import STUDIOS, draw_view
from fgnet_jax.data.synthetic.tracks import personal, smooth_tracks, to_intensities
from fgnet_jax.runtime.workers import in_order

RATE_FLOOR = 0.25
"""Least share of positive frames of a twin unless asked otherwise.

The published rates go down to 4 %, which is too few positives to learn from in the few thousand frames of a
demonstration; rates above the floor are the published ones.
"""


@dataclasses.dataclass(frozen=True)
class Recording:
    """One sequence of one person.

    Attributes:
      who: The person.
      subject: The person's name in the corpus.
      sequence: The sequence's name.
      aus: AU numbers of the columns of `intensities`.
      intensities: (frames, K) float32, 0 to 5.
      views: One per frame.
    """

    who: Identity
    subject: str
    sequence: str
    aus: tuple[int, ...]
    intensities: np.ndarray
    views: tuple[View, ...]

    def render(self, frame: int) -> RenderedFace:
        """Draws one frame, counted from 0."""
        return render_face(
            self.who, dict(zip(self.aus, self.intensities[frame].tolist(), strict=True)), self.views[frame]
        )


def base_rates(corpus: str, floor: float = RATE_FLOOR) -> dict[int, float]:
    """Published share of positive frames per AU, none below the floor; `floor=0` gives the published ones."""
    return {au: max(rate, floor) for au, rate in folds_lib.BASE_RATES[folds_lib.family(corpus)].items()}


def labels(intensities: np.ndarray) -> np.ndarray:
    """1 where an AU is present (intensity 2 of 5 or more), else 0; int8, same shape."""
    return (intensities >= aus_lib.PRESENT_INTENSITY).astype(np.int8)


def _generator(seed: int, *names: str) -> np.random.Generator:
    """Randomness that depends on a seed and on names alone, not on what was drawn before."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def person(corpus: str, subject: str, seed: int = 0) -> Identity:
    """The person behind a subject's name; a name that begins with F or M tells the sex."""
    family = folds_lib.family(corpus)
    studio = STUDIOS[family]
    female = {"F": True, "M": False}.get(subject[0])
    who = sample_identity(_generator(seed, family, subject), female=female, tones=studio.tones)
    return dataclasses.replace(who, strength=who.strength * studio.strength)


def _counts(total: int, parts: int) -> list[int]:
    return [total // parts + (k < total % parts) for k in range(parts)]


def recordings(corpus: str, frames: int, *, seed: int = 0, rates: Mapping[int, float] | None = None) -> list[Recording]:
    """Plans a whole corpus without drawing it: cheap, and the same for the same arguments.

    Args:
      corpus: `synthetic_bp4d` or `synthetic_disfa` (or the name of the corpus that it is a twin of).
      frames: Frames in all, spread evenly over subjects and sequences.
      seed: Seed of people, tracks and views.
      rates: Share of positive frames per AU; those left out are as in `base_rates`.

    Returns:
      Every sequence, by subject in the published order, then by sequence; sequences without a frame are left out.

    Raises:
      ValueError: for an unknown corpus, an AU that it lacks, or a rate or a count out of range.
    """
    family = folds_lib.family(corpus)
    wanted = _checked_rates(family, frames, rates)
    aus = aus_lib.CORPUS_AUS[family]
    names = [(s, q) for q in folds_lib.SEQUENCES[family] for s in _by_turns(folds_lib.FOLDS[family])]
    planned = [(s, q, n) for (s, q), n in zip(names, _counts(frames, len(names)), strict=True) if n]
    tracks = []
    for subject, sequence, count in planned:
        habit = personal(_generator(seed, family, subject, "habit"), aus)
        tracks.append(habit + smooth_tracks(_generator(seed, family, subject, sequence, "tracks"), count, aus))
    shown = to_intensities(np.concatenate(tracks), [wanted[au] for au in aus])
    cut = np.cumsum([n for _, _, n in planned])[:-1]
    result = []
    for (subject, sequence, count), intensities in zip(planned, np.split(shown, cut), strict=True):
        views = draw_view(_generator(seed, family, subject, sequence, "views"), STUDIOS[family], count)
        who = person(family, subject, seed)
        result.append(Recording(who, subject, sequence, aus, intensities, tuple(views)))
    order = {name: k for k, name in enumerate(folds_lib.subjects(family))}
    return sorted(result, key=lambda r: (order[r.subject], r.sequence))


def _by_turns(folds: Sequence[Sequence[str]]) -> list[str]:
    """Subjects of all folds, one of each fold in turn, so that every fold of a small corpus has frames."""
    turns = itertools.zip_longest(*folds)
    return [name for turn in turns for name in turn if name is not None]


def _checked_rates(family: str, frames: int, rates: Mapping[int, float] | None) -> dict[int, float]:
    if frames < folds_lib.NUM_FOLDS:
        raise ValueError(
            f"cannot make a corpus of {frames} frames: expected at least one per fold, {folds_lib.NUM_FOLDS}"
        )
    wanted = base_rates(family)
    for au, rate in (rates or {}).items():
        if au not in wanted:
            raise ValueError(f"{family} has no AU {au}: expected one of {sorted(wanted)}")
        if not 0 <= rate <= 1:
            raise ValueError(f"base rate of AU {au} is {rate}: expected a share between 0 and 1")
        wanted[au] = rate
    return wanted


Drawn = list[tuple[bytes, np.ndarray]]
"""Encoded image and landmarks per frame of a recording."""


def draw(recording: Recording) -> Drawn:
    """Renders and encodes all frames of a recording."""
    faces = [recording.render(k) for k in range(len(recording.views))]
    return [(encode(face.image), face.landmarks) for face in faces]


def draw_all(items: Sequence[Recording], workers: int = 1) -> Iterator[tuple[Recording, Drawn]]:
    """Draws recordings in order, in this process or in several.

    Args:
      items: What to draw.
      workers: Processes; 1 draws here.
    """
    if workers <= 1:
        yield from ((item, draw(item)) for item in items)
        return
    yield from zip(items, in_order(draw, items, workers), strict=True)


def source_fingerprint() -> str:
    """Hash of the code that draws: a corpus drawn by other code is not the same corpus."""
    folder = pathlib.Path(__file__).parent
    digest = hashlib.sha256()
    for path in (*sorted(folder.glob("*.py")), folder.parent / "protocols.py"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def random_faces(
    corpus: str, count: int, *, seed: int = 0, rates: Mapping[int, float] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some faces of a twin, each of another sequence as far as there are enough: for tests, sheets and benchmarks.

    Returns:
      Images (N, 256, 256, 3) uint8, landmarks (N, 68, 2) float32, labels (N, K) int8.
    """
    items = recordings(corpus, count, seed=seed, rates=rates)
    faces = [item.render(k) for item in items for k in range(len(item.views))]
    shown = np.concatenate([item.intensities for item in items])
    return np.stack([f.image for f in faces]), np.stack([f.landmarks for f in faces]), labels(shown)
