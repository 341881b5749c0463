"""The outcome of a run: F1 per AU as a table for the terminal, and as `results.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax import aus as aus_lib
from fgnet_jax.runtime import atomic_write_text

Row = tuple[str, Sequence[int], Sequence[float] | np.ndarray]
"""A title, the K AUs that it is about, and their F1 (K,) as fractions."""


def f1_table(rows: Sequence[Row], title: str = "F1, %") -> str:
    """F1 in percent with one decimal: a line a row, a column an AU, at the end the plain mean over the row's own AUs.

    Args:
      rows: They need not have the same AUs: an AU that a row lacks is shown as `-`.
      title: What stands above the rows' titles.

    Returns:
      Lines of text of one width, without a newline at the end.
    """
    columns = sorted({au for _, aus, _ in rows for au in aus})
    cells = [[title, *map(aus_lib.label, columns), "mean"]]
    for name, aus, f1 in rows:
        percent = {au: f"{100 * value:.1f}" for au, value in zip(aus, f1, strict=True)}
        cells.append([name, *(percent.get(au, "-") for au in columns), f"{100 * np.mean(f1):.1f}"])
    width = max(len(line[0]) for line in cells)
    lines = [line[0].ljust(width) + "".join(cell.rjust(6) for cell in line[1:]) for line in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


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
    atomic_write_text(path, json.dumps(results, indent=2, allow_nan=False) + "\n")
    return results
