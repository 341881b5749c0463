"""Scoring the faces of a corpus with a jitted evaluation step, on all devices and processes."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.data.corpus import Corpus
from fgnet_jax.data.pipeline import LoaderConfig, ProcessShard, eval_batches
from fgnet_jax.metrics.classification import confusion, count_metrics, f1, mean_f1, rank_metrics
from fgnet_jax.models.config import NetworkConfig
from fgnet_jax.models.fgnet import Variables, au_heatmaps, scores
from fgnet_jax.models.ops import gathering, platforms
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.runtime.sharding import Sharding, global_batch
from fgnet_jax.train.steps import StepConfig, batch_targets

EvalBatch = Mapping[str, jax.Array]
"""A global batch: `image`, `labels`, `index`, `valid`; where errors are computed, what targets are drawn from too."""

EvalStep = Callable[[Variables, EvalBatch], dict[str, jax.Array]]
"""Variables and a global batch to `scores`, `labels`, `index` and `valid`, each complete in every process; `errors`."""

METRICS = {
    "f1": "F1",
    "auc": "AUC",
    "average_precision": "average precision",
    "balanced_accuracy": "balanced accuracy",
}
"""Metrics that epochs can be selected by (`train.select_metric`), in words; all are higher where they are better."""


@dataclasses.dataclass(frozen=True)
class EvalSteps:
    """Jitted functions of variables and a global batch; their results are complete in every process.

    Attributes:
      score: Returns `scores` (N, K) in [-1, 1] with the batch's `labels`, `index` and `valid`; and, of a run, `errors`
        (N, K), the mean squared errors of the heatmaps over space.
      heatmaps: Returns the heatmaps (N, H, H, K) of the AUs, not clipped.
    """

    score: EvalStep
    heatmaps: Callable[[Variables, EvalBatch], jax.Array]


@functools.lru_cache(maxsize=4)  # several runs of one process compile once
def compile_eval_steps(model: NetworkConfig, count: int, layout: Sharding, step: StepConfig | None = None) -> EvalSteps:
    """Jit the evaluation of a network on the first `count` channels of its output, those of the AUs.

    Args:
      model: The network.
      count: The number of AUs.
      layout: Placement of arrays on devices.
      step: What the steps of a run are compiled for, which says what its targets are, to compute errors too.
    """

    def heatmaps(variables: Variables, batch: EvalBatch) -> jax.Array:
        return au_heatmaps(model, variables, batch["image"], count)

    def evaluate(variables: Variables, batch: EvalBatch) -> dict[str, jax.Array]:
        predicted = heatmaps(variables, batch)
        result = {name: batch[name] for name in ("labels", "index", "valid")} | {"scores": scores(predicted)}
        if step is None:
            return result
        return result | {"errors": jnp.square(predicted - batch_targets(step, batch)).mean((1, 2))}

    platform = layout.platform
    options = compiler_options.inference(platform, is_small=model.is_small)
    jitted = functools.partial(jax.jit, out_shardings=layout.replicated, compiler_options=options)
    traced = functools.partial(gathering.traced_as, layout.kernels, layout.images)
    return EvalSteps(
        score=jitted(traced(platforms.traced_for(platform, evaluate))),
        heatmaps=jitted(traced(platforms.traced_for(platform, heatmaps))),
    )


@dataclasses.dataclass(frozen=True)
class ScoredFaces:
    """Scores of faces, in the order of their indices.

    Attributes:
      scores: (N, K) float32 in [-1, 1].
      labels: (N, K) int8, -1 unknown.
      indices: (N,) positions in the corpus.
      errors: (N, K) float32, the mean squared errors of their heatmaps, if they were computed.
    """

    scores: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    errors: np.ndarray | None = None

    def f1_by_au(self, aus: tuple[int, ...]) -> dict[int, float]:
        """Compute F1, as a fraction, of every AU that has a known label."""
        is_known = np.any(self.labels >= 0, axis=0).tolist()
        values = f1(confusion(self.scores, self.labels))
        return {au: float(value) for au, value, known in zip(aus, values, is_known, strict=True) if known}

    def mean_f1(self) -> float:
        """Compute the plain mean of `f1_by_au`."""
        known = (self.labels >= 0).any(0)
        return mean_f1(confusion(self.scores[:, known], self.labels[:, known]))

    def mean(self, metric: str) -> float:
        """Compute the plain mean of a metric, one of `METRICS`, over the AUs of which it has a value."""
        if metric == "f1":
            return self.mean_f1()
        if metric == "balanced_accuracy":
            values = count_metrics(confusion(self.scores, self.labels))[metric]
        else:
            columns = zip(self.scores.T, self.labels.T, strict=True)
            values = np.array([rank_metrics(*column)[metric][0] for column in columns])
        return float(np.nanmean(values))

    def loss(self) -> float:
        """Compute the published loss of these faces: the mean over AUs of the mean error over known faces."""
        known = self.labels >= 0
        assert self.errors is not None
        sums = np.where(known, self.errors.astype(np.float64), 0).sum(0)
        counts = known.sum(0)
        return float((sums / np.maximum(counts, 1)).sum() / max((counts > 0).sum(), 1))


def score(
    eval_step: EvalStep,
    variables: Variables,
    corpus: Corpus,
    indices: np.ndarray,
    *,
    loader: LoaderConfig,
    sharding: Sharding,
    shard: ProcessShard,
) -> ScoredFaces:
    """Score faces of a corpus; every process gets the scores of all of them.

    Args:
      eval_step: The jitted step.
      variables: The network's variables.
      corpus: The corpus that the faces are in.
      indices: Which of its faces.
      loader: How they are loaded.
      sharding: Placement of batches on the devices.
      shard: What this process loads.
    """
    parts = []
    for batch in eval_batches(corpus, indices, loader, shard=shard):
        result = {name: np.asarray(x) for name, x in eval_step(variables, global_batch(batch, sharding)).items()}
        parts.append({name: x[result["valid"]] for name, x in result.items()})
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined["index"], kind="stable")
    return ScoredFaces(
        scores=joined["scores"][order],
        labels=joined["labels"][order],
        indices=joined["index"][order],
        errors=joined["errors"][order] if "errors" in joined else None,
    )


def selectable(labels: np.ndarray, metric: str) -> bool:
    """Return whether a metric, one of `METRICS`, has a value for some AU of faces with these labels (N, K)."""
    present, absent = (labels == 1).any(0), (labels == 0).any(0)
    needed = {"auc": present & absent, "average_precision": present}.get(metric, present | absent)
    return bool(needed.any())
