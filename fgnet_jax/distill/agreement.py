"""How well a student agrees with its teachers on held-out faces."""

import dataclasses
import math
from typing import Any

import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.distill import batches
from fgnet_jax.distill.batches import StudentFaces
from fgnet_jax.distill.run import DistillRun
from fgnet_jax.metrics import f1_table
from fgnet_jax.metrics.thresholds import PUBLISHED
from fgnet_jax.models import fgnet
from fgnet_jax.runtime import sharding


@dataclasses.dataclass(frozen=True, eq=False)
class Agreement:
    """A student beside its teachers, on the same N faces.

    Attributes:
      aus: The K AUs.
      errors: (N, K) mean squared errors of the heatmaps.
      scores: (N, K), the student's.
      teachers: (N, K), the teachers'.
    """

    aus: tuple[int, ...]
    errors: np.ndarray
    scores: np.ndarray
    teachers: np.ndarray

    @classmethod
    def of(cls, run: DistillRun, variables: fgnet.Variables, faces: StudentFaces) -> "Agreement":
        """Compute a student's scores and errors of the held-out faces."""
        train, parts = run.config.train, []
        loaded = batches.eval_batches(
            faces.cached, faces.held_out, batch_size=train.eval_batch_size, threads=run.config.data.threads
        )
        for batch in loaded:
            placed = sharding.global_batch({name: batch[name] for name in ("image", "heatmaps")}, run.layout)
            result = {name: np.asarray(x)[batch["valid"]] for name, x in run.evaluate(variables, placed).items()}
            parts.append((result["errors"], result["scores"], batch["scores"][batch["valid"]]))
        errors, scores, teachers = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return cls(run.aus, errors, scores, teachers)

    @property
    def is_finite(self) -> bool:
        """Whether all scores and errors are."""
        return bool(np.isfinite(self.scores).all() and np.isfinite(self.errors).all())

    @property
    def losses(self) -> np.ndarray:
        """Mean squared errors (K,)."""
        return self.errors.astype(np.float64).mean(0)

    @property
    def equal(self) -> np.ndarray:
        """Share of faces (K,) of which student and teachers say the same, present or absent."""
        return ((self.scores > PUBLISHED) == (self.teachers > PUBLISHED)).mean(0)

    @property
    def correlations(self) -> np.ndarray:
        """Pearson's correlation of the scores (K,); NaN where one of the two never changes."""
        own, theirs = (values - values.mean(0) for values in (self.scores.astype(np.float64), self.teachers))
        scale = np.sqrt(np.square(own).sum(0) * np.square(theirs).sum(0))
        return np.where(scale > 0, (own * theirs).sum(0) / np.where(scale > 0, scale, 1), np.nan)

    def means(self) -> dict[str, float]:
        """Return means over AUs: `validation_loss`, `agreement` (a share) and `correlation`.

        The last is the mean over the AUs that have one, and is left out where none has: of a single face, say.
        """
        correlations = self.correlations
        known = correlations[np.isfinite(correlations)]
        means = {"validation_loss": float(self.losses.mean()), "agreement": float(self.equal.mean())}
        return means | ({"correlation": float(known.mean())} if known.size else {})

    def by_au(self) -> dict[str, float]:
        """Return the share of equal presences by AU, for the log."""
        return {f"agreement/{au_label(au)}": float(each) for au, each in zip(self.aus, self.equal, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """Return everything by AU, for JSON; None for what has no value."""
        columns = {"validation_loss": self.losses, "agreement": self.equal, "correlation": self.correlations}
        return {
            name: {au_label(au): _or_none(each) for au, each in zip(self.aus, values.tolist(), strict=True)}
            for name, values in columns.items()
        }

    def table(self) -> str:
        """Return a table for the terminal: a row per AU, the means last."""
        means = self.means()
        head = ["AU", "loss", "equal, %", "correlation", "present, %", "teachers, %"]
        present = [100 * (values > PUBLISHED).mean(0) for values in (self.scores, self.teachers)]
        columns = zip(self.aus, self.losses, 100 * self.equal, self.correlations, *present, strict=True)
        rows = [
            [au_label(au), f"{loss:.4f}", f"{equal:.1f}", _text(correlation), f"{own:.1f}", f"{theirs:.1f}"]
            for au, loss, equal, correlation, own, theirs in columns
        ]
        last = [f"{means['validation_loss']:.4f}", f"{100 * means['agreement']:.1f}"]
        last.append(_text(means.get("correlation", math.nan)))
        last += [f"{values.mean():.1f}" for values in present]
        return f1_table.as_text([head, *rows, ["mean", *last]])


def _text(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
