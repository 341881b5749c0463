"""A method's predictions for the frames of a corpus, whatever they were read from."""

import dataclasses

import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.evaluate.runs import EvaluationError


@dataclasses.dataclass(frozen=True, eq=False)
class Method:
    """A method's predictions for N frames; a frame may come several times, from several networks.

    Attributes:
      aus: The K AUs.
      subjects: (N,) str.
      sequences: (N,) str; "" where they are not known.
      frames: (N,) int64.
      present: (N, K) int8: 1 predicted present, 0 absent, -1 no result.
      scores: (N, K) float64; NaN where there is none.
      labels: (N, K) int8: 1 present, 0 absent, -1 unknown; None where there are none.
      splits: (N,) str, or None.
      recordings: Whose recordings these are (`CorpusIdentity.recordings`); "" where that is not known.
      identities: The prepared corpora that it was tested on.
      rule: When an AU is predicted present, in words.
      remarks: What a reader must know of how it was read, a sentence each.
      warnings: What a reviewer would object to (`review.of_tested`).
      settings: What the configurations of its networks differ in.
      weights: SHA-256 of its networks' weights.
      name: Its name.
    """

    aus: tuple[int, ...]
    subjects: np.ndarray
    sequences: np.ndarray
    frames: np.ndarray
    present: np.ndarray
    scores: np.ndarray
    labels: np.ndarray | None = None
    splits: np.ndarray | None = None
    recordings: str = ""
    identities: tuple[CorpusIdentity, ...] = ()
    rule: str = ""
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    name: str = ""

    def __len__(self) -> int:
        return len(self.frames)

    def of_rows(self, rows: np.ndarray) -> "Method":
        """Return the predictions of these rows, in this order."""
        arrays = ("subjects", "sequences", "frames", "present", "scores", "labels", "splits")
        values = {name: getattr(self, name) for name in arrays}
        return dataclasses.replace(self, **{k: None if v is None else v[rows] for k, v in values.items()})

    def of_aus(self, aus: tuple[int, ...]) -> "Method":
        """Return the predictions of these AUs, all of which it has."""
        places = [self.aus.index(au) for au in aus]
        labels = None if self.labels is None else self.labels[:, places]
        return dataclasses.replace(
            self, aus=aus, present=self.present[:, places], scores=self.scores[:, places], labels=labels
        )


def at_thresholds(method: Method, thresholds: np.ndarray, rule: str) -> Method:
    """Return a method whose AUs are predicted present where their score is above these thresholds, (K,).

    Raises:
      EvaluationError: It has no scores of an AU.
    """
    has_result = method.present >= 0
    without = [
        au_label(au) for k, au in enumerate(method.aus) if not np.isfinite(method.scores[has_result[:, k], k]).all()
    ]
    if without:
        raise EvaluationError(f"{method.name}: there are no scores of {', '.join(without)} to apply a threshold to")
    with np.errstate(invalid="ignore"):  # frames without a result
        above = method.scores > thresholds
    return dataclasses.replace(method, present=np.where(has_result, above, -1).astype(np.int8), rule=rule)
