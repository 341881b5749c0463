"""Runs with their predictions, and where these come from: the networks (`NetworkPredictor`), or files that are kept.

Protocols take any `Predictor`, so that a report from kept predictions is the report of the evaluation that kept them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from fgnet_jax.data.corpus import corpus_folds
from fgnet_jax.data.folds import base_name
from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.evaluate import leakage, scoring
from fgnet_jax.evaluate.frame_predictions import FramePredictions, join
from fgnet_jax.evaluate.leakage import LeakageError
from fgnet_jax.evaluate.request import EvalOptions
from fgnet_jax.evaluate.runs import FITTED_ON_UNKNOWN, EvaluatedRun
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.metrics import thresholds


@dataclasses.dataclass(frozen=True)
class TestedRun:
    """A run's predictions for some splits of a corpus.

    Attributes:
      run: The run.
      corpus: Name of the corpus.
      predictions: For all frames of the splits.
      thresholds: Threshold of each AU, (K,).
      identities: What the corpus is and how it was prepared.
      files: The files that the predictions are kept in.
      thresholds_text: Where the thresholds come from, in words.
      fitted_on: Subjects that they were fitted on, by corpus; empty for published ones.
    """

    __test__ = False  # no class of tests, whatever its name

    run: EvaluatedRun
    corpus: str
    predictions: FramePredictions
    thresholds: np.ndarray
    identities: tuple[CorpusIdentity, ...] = ()
    files: tuple[Path, ...] = ()
    thresholds_text: str = scoring.PUBLISHED_RULE
    fitted_on: dict[str, list[str]] = dataclasses.field(default_factory=dict)


class Predictor(Protocol):
    """Where predictions come from."""

    def tested(self, run: EvaluatedRun, *, corpus: str, splits: Sequence[str]) -> TestedRun:
        """Return the predictions of a run for splits of a corpus, at their thresholds."""
        ...

    def folds(self, corpus: str) -> tuple[int, ...]:
        """Return the folds of a corpus, ascending."""
        ...


class NetworkPredictor:
    """Predictions by the networks themselves, at the thresholds of the options."""

    def __init__(self, data: EvalData, options: EvalOptions):
        """Read the file of thresholds, if there is one.

        Raises:
          ThresholdsError: It cannot be read, or holds no thresholds.
        """
        self._data, self._options = data, options
        self.stored = thresholds.read(options.thresholds_file) if options.thresholds_file else None

    def tested(self, run: EvaluatedRun, *, corpus: str, splits: Sequence[str]) -> TestedRun:
        """Predict splits of a corpus, or read what is kept of the same network and faces.

        Raises:
          LeakageError: Subjects of the splits were trained on, or the thresholds were fitted on them.
        """
        if self.stored:
            self.stored.of(scoring.aus_of(self._data, run, corpus=corpus))  # a missing AU is said before predicting
        fitted_on = self._fitted_on(run)
        parts = [scoring.predict_split_cached(self._data, run, corpus=corpus, split=split) for split in splits]
        subjects = {name for part in parts for name in part.predictions.subjects.tolist()}
        recordings = parts[0].identities[0].recordings if parts[0].identities else corpus
        check_fitted_on(fitted_on, corpus=recordings, subjects=subjects, source=self._thresholds_text())
        values, text = self._thresholds(run, parts[0].predictions.aus), self._thresholds_text()
        at_thresholds = [scoring.apply_thresholds(part, values, rule=text, fitted_on=fitted_on) for part in parts]
        return TestedRun(
            run=run,
            corpus=corpus,
            predictions=join(at_thresholds),
            thresholds=values,
            identities=parts[0].identities,
            files=tuple(part.path for part in parts if part.path),
            thresholds_text=text,
            fitted_on=fitted_on,
        )

    def folds(self, corpus: str) -> tuple[int, ...]:
        """Return the folds of a prepared corpus, ascending."""
        return corpus_folds(corpus, self._data.data_dir)

    def _fitted_on(self, run: EvaluatedRun) -> dict[str, list[str]]:
        """Return the subjects that the thresholds of a run are fitted on, by corpus; refuse a run without any."""
        if self._options.fit_thresholds:
            _, groups = scoring.held_out_subjects(run)
            return {base_name(corpus): sorted(subjects) for corpus, subjects in groups.items()}
        return self.stored.fitted_on if self.stored else {}

    def _thresholds_text(self) -> str:
        text = self._options.thresholds_text
        return f"{text}, {FITTED_ON_UNKNOWN}" if self.stored and not self.stored.fitted_on else text

    def _thresholds(self, run: EvaluatedRun, aus: Sequence[int]) -> np.ndarray:
        """Return the thresholds (K,) of a run's AUs, float64."""
        if self._options.fit_thresholds:
            held_out = scoring.predict_held_out(self._data, run)
            fitted = dict(zip(held_out.aus, thresholds.fit(held_out.scores, held_out.labels), strict=True))
            return np.array([fitted[au] for au in aus])
        return self.stored.of(aus) if self.stored else np.full(len(aus), thresholds.PUBLISHED)


def check_fitted_on(fitted_on: Mapping[str, Sequence[str]], *, corpus: str, subjects: set[str], source: str) -> None:
    """Refuse thresholds that were fitted on subjects who are tested.

    Args:
      fitted_on: Subjects that they were fitted on, by corpus; "" for a corpus that is not known.
      corpus: The corpus that is tested.
      subjects: The subjects who are tested.
      source: Where the thresholds come from, in words.

    Raises:
      LeakageError: They were; the message names the subjects.
    """
    groups = [names for key, names in fitted_on.items() if not key or leakage.same_corpus(key, corpus)]
    leaked = sorted(subjects & {name for names in groups for name in names})
    if leaked:
        shown = ", ".join(leaked[:5]) + (f" and {len(leaked) - 5} more" if len(leaked) > 5 else "")
        raise LeakageError(
            f"thresholds ({source}) were fitted on {len(leaked)} of the subjects that are tested: {shown}. "
            "Use thresholds that were fitted on others, or --fit_thresholds"
        )
