"""Scoring the faces of a corpus with a jitted evaluation step, on all devices and processes."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import numpy as np

from fgnet_jax.data.corpus import Corpus
from fgnet_jax.data.pipeline import LoaderConfig, ProcessShard, eval_batches
from fgnet_jax.metrics.classification import confusion, f1, mean_f1
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.fgnet import Variables, au_heatmaps, scores
from fgnet_jax.models.ops import gathering, platforms
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.runtime.sharding import Sharding, global_batch

EvalBatch = Mapping[str, jax.Array]
"""A global batch: `image`, `labels`, `index`, `valid`."""

EvalStep = Callable[[Variables, EvalBatch], dict[str, jax.Array]]
"""Variables and a global batch to `scores`, `labels`, `index` and `valid`, each complete in every process."""


@dataclasses.dataclass(frozen=True)
class EvalSteps:
    """Jitted functions of variables and a global batch; their results are complete in every process.

    Attributes:
      score: Returns `scores` (N, K) in [-1, 1] with the batch's `labels`, `index` and `valid`.
      heatmaps: Returns the heatmaps (N, H, H, K) of the AUs, not clipped.
    """

    score: EvalStep
    heatmaps: Callable[[Variables, EvalBatch], jax.Array]


@functools.lru_cache(maxsize=4)  # several runs of one process compile once
def compile_eval_steps(model: ModelConfig, count: int, layout: Sharding) -> EvalSteps:
    """Jit the evaluation of a network on the first `count` channels of its output, those of the AUs."""

    def heatmaps(variables: Variables, batch: EvalBatch) -> jax.Array:
        return au_heatmaps(model, variables, batch["image"], count)

    def evaluate(variables: Variables, batch: EvalBatch) -> dict[str, jax.Array]:
        passed_on = {name: batch[name] for name in ("labels", "index", "valid")}
        return passed_on | {"scores": scores(heatmaps(variables, batch))}

    platform = layout.platform
    options = compiler_options.inference(platform)
    jitted = functools.partial(jax.jit, out_shardings=layout.replicated, compiler_options=options)
    return EvalSteps(
        score=jitted(gathering.traced_as(layout.kernels, platforms.traced_for(platform, evaluate))),
        heatmaps=jitted(gathering.traced_as(layout.kernels, platforms.traced_for(platform, heatmaps))),
    )


@dataclasses.dataclass(frozen=True)
class ScoredFaces:
    """Scores of faces, in the order of their indices.

    Attributes:
      scores: (N, K) float32 in [-1, 1].
      labels: (N, K) int8, -1 unknown.
      indices: (N,) positions in the corpus.
    """

    scores: np.ndarray
    labels: np.ndarray
    indices: np.ndarray

    def f1_by_au(self, aus: tuple[int, ...]) -> dict[int, float]:
        """Compute F1, as a fraction, of every AU that has a known label."""
        is_known = np.any(self.labels >= 0, axis=0).tolist()
        values = f1(confusion(self.scores, self.labels))
        return {au: float(value) for au, value, known in zip(aus, values, is_known, strict=True) if known}

    def mean_f1(self) -> float:
        """Compute the plain mean of `f1_by_au`."""
        known = (self.labels >= 0).any(0)
        return mean_f1(confusion(self.scores[:, known], self.labels[:, known]))


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
    joined = {name: np.concatenate([part[name] for part in parts]) for name in ("scores", "labels", "index")}
    order = np.argsort(joined["index"], kind="stable")
    return ScoredFaces(scores=joined["scores"][order], labels=joined["labels"][order], indices=joined["index"][order])
