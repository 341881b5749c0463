"""."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax import aus as aus_lib
from fgnet_jax.runtime.files import write_text


def write_results(
    path: str | Path,
    *,
    aus: Sequence[int],
    f1: Sequence[float] | np.ndarray,
    split: str,
    selection: str,
    step: int,
    **extra: Any,
) -> dict[str, Any]:
    """Writes a run's figures as JSON, the whole file at once.

    Args:
      path: The file, `results.json`.
      aus: The K AU numbers.
      f1: (K,) fractions.
      split: What they were measured on.
      selection: The rule by which the step was chosen, in words.
      step: The step that was chosen.
      **extra: Anything else that JSON can hold, such as `provenance`.

    Returns:
      What was written: `mean_f1` (the plain mean), `f1` ({"AU01": fraction, …}), `split`, `selection`, `step`, and the
      extra fields.

    Raises:
      ValueError: for a figure that is not finite, or an extra field in the place of one of these.
    """
    taken = {"mean_f1"} & set(extra)
    if taken:
        raise ValueError(f"{path}: {taken} is computed from f1, not given")
    per_au = {aus_lib.label(au): float(value) for au, value in zip(aus, f1, strict=True)}
    results = {"mean_f1": float(np.mean(f1)), "f1": per_au, "split": split, "selection": selection, "step": int(step)}
    results |= extra
    write_text(path, json.dumps(results, indent=2, allow_nan=False) + "\n")
    return results
