"""A run's `results.json`: F1 of the selected weights on the test fold."""

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
    **extra: Any,  # noqa: ANN401 - whatever JSON can hold
) -> dict[str, Any]:
    """Write a run's metrics as JSON, atomically.

    Args:
      path: The file, `results.json`.
      aus: The K AU numbers.
      f1: (K,) fractions.
      split: The split that they were measured on.
      selection: The rule by which the step was selected, in words.
      step: The step that was selected.
      **extra: Further fields, such as `provenance`.

    Returns:
      The contents of the file: `mean_f1` (the plain mean), `f1` ({"AU01": fraction, …}), `split`, `selection`, `step`,
      and the extra fields.

    Raises:
      ValueError: A value is not finite, or `mean_f1` is given as an extra field.
    """
    if "mean_f1" in extra:
        raise ValueError(f"{path}: mean_f1 is computed from f1, not given")
    f1_by_au = {aus_lib.label(au): float(value) for au, value in zip(aus, f1, strict=True)}
    results = {"mean_f1": float(np.mean(f1)), "f1": f1_by_au, "split": split, "selection": selection, "step": int(step)}
    results |= extra
    write_text(path, json.dumps(results, indent=2, allow_nan=False) + "\n")
    return results
