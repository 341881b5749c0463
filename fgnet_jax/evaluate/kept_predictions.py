"""Files of predictions: what they are of, so that they are read again while that is the same, and scores on the way."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.evaluate import frame_predictions, partial_scores
from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.evaluate.partial_scores import PartialScores
from fgnet_jax.runtime import command_line

CORPORA, EVALUATED_RUN = "corpora", "evaluated_run"
"""Keys of the metadata of kept predictions: identities of the corpus, and the run (`EvaluatedRun.to_dict`)."""

HELD_OUT = "held_out"
"""Folder, in that of predictions, of those of the subjects whom thresholds are fitted on."""


@dataclasses.dataclass(frozen=True)
class KeptPredictions:
    """A file of predictions, which need not exist yet.

    Attributes:
      path: The file.
      metadata: What the predictions are of and depend on, as the file has it.
    """

    path: Path
    metadata: dict[str, Any]

    def read(self) -> FramePredictions | None:
        """Read the predictions of an earlier evaluation, if they are of the same weights and the same faces.

        Where they are not, a line on standard error says what differs.
        """
        if not self.path.exists():
            return None
        predictions, earlier = frame_predictions.read(self.path)
        differing = [key for key, value in self._compared().items() if earlier.get(key) != value]
        if not differing:
            return predictions
        reason = _what_differs(differing, earlier, self.metadata)
        command_line.status("evaluate", f"{self.path}: predicted anew: {reason}")
        return None

    def partial(self, indices: np.ndarray, batch_size: int) -> PartialScores:
        """Return where scores of these faces are kept until the file is written."""
        return partial_scores.beside(self.path, self._compared(), indices, batch_size)

    def write(self, predictions: FramePredictions) -> None:
        """Write the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        frame_predictions.write(self.path, predictions, self.metadata)

    def _compared(self) -> dict[str, Any]:
        return {key: value for key, value in self.metadata.items() if key != EVALUATED_RUN}


def _what_differs(keys: Sequence[str], earlier: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Describe what kept predictions differ in: the preparation of the corpus, or other keys of their metadata."""
    if CORPORA not in keys:
        return "; ".join(f"{key}: {earlier.get(key)!r} then, {metadata[key]!r} now" for key in keys)
    if not earlier.get(CORPORA):
        return "they do not say of which preparation of the corpus they are"
    pairs = zip(map(CorpusIdentity.from_dict, metadata[CORPORA]), earlier[CORPORA], strict=False)
    lines = [line for identity, recorded in pairs for line in identity.differences(recorded)]
    return f"the corpus was prepared anew: {'; '.join(lines)}"
