"""The specification of an evaluation: the protocol, the runs, the corpora, and how predictions are measured.

report.json records it (`to_dict`), and `evaluate reproduce` evaluates by it again.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgnet_jax.evaluate.runs import EvaluatedRun, checksum
from fgnet_jax.evaluate.scoring import PUBLISHED_RULE, EvalData
from fgnet_jax.metrics import bootstrap, thresholds

SINGLE, WITHIN, CROSS, EFFICIENCY, STUDY = "single", "within", "cross", "efficiency", "study"
"""The protocols; the first is one run on given splits."""

PROTOCOLS = (SINGLE, WITHIN, CROSS, EFFICIENCY, STUDY)
"""Names of all protocols."""

KEY = "request"
"""Key of the request in report.json."""


@dataclasses.dataclass(frozen=True)
class EvalOptions:
    """How predictions are thresholded and measured.

    Attributes:
      resamples: Bootstrap resamples of subjects, for the intervals.
      seed: Seed of the resampling.
      fit_thresholds: Whether thresholds are fitted to each run's held-out training subjects.
      thresholds_file: A file of thresholds to use, or None.
    """

    resamples: int = bootstrap.RESAMPLES
    seed: int = 0
    fit_thresholds: bool = False
    thresholds_file: Path | None = None

    @property
    def thresholds_text(self) -> str:
        """The thresholds' description in reports."""
        if self.fit_thresholds:
            return f"fitted, {thresholds.RULE} of each run"
        return f"those of {self.thresholds_file}" if self.thresholds_file else PUBLISHED_RULE


@dataclasses.dataclass(frozen=True)
class Request:
    """An evaluation to be carried out.

    Attributes:
      protocol: One of `PROTOCOLS`.
      runs: The runs that were found; one for `SINGLE`.
      corpus: The corpus to test on.
      source: The corpus trained on, for `CROSS` and `STUDY`; otherwise "".
      split: The splits to test on, for `SINGLE`: `fold_0`, or several: `fold_0+fold_1`; otherwise "".
      options: How predictions are thresholded and measured.
    """

    protocol: str
    runs: tuple[EvaluatedRun, ...]
    corpus: str
    source: str = ""
    split: str = ""
    options: EvalOptions = dataclasses.field(default_factory=EvalOptions)

    def to_dict(self, data: EvalData | None) -> dict[str, Any]:
        """Return everything that the evaluation depends on, for JSON; folders and files as absolute paths.

        Args:
          data: Where corpora are, and how frames are loaded; None for an evaluation of kept predictions.
        """
        options = dataclasses.asdict(self.options)
        file = self.options.thresholds_file
        options["thresholds_file"] = str(file.absolute()) if file else None
        runs = [
            {
                "name": run.name,
                "weights": str(run.weights.absolute()),
                "weights_sha256": checksum(run),
                "fold": run.fold,
                "trained_fold": run.trained_fold,
            }
            for run in self.runs
        ]
        named = {"protocol": self.protocol, "corpus": self.corpus, "source": self.source, "split": self.split}
        loading = {"data_dir": None, "batch_size": None, "threads": None}
        if data:
            loading = {
                "data_dir": str(data.data_dir.absolute()),
                "batch_size": data.batch_size,
                "threads": data.threads,
            }
        return named | {"runs": runs} | options | loading


def options_of(recorded: Mapping[str, Any]) -> EvalOptions:
    """Return the options of a request that `Request.to_dict` returned."""
    file = recorded["thresholds_file"]
    return EvalOptions(
        resamples=recorded["resamples"],
        seed=recorded["seed"],
        fit_thresholds=recorded["fit_thresholds"],
        thresholds_file=Path(file) if file else None,
    )
