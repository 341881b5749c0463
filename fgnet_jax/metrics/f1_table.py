"""Tables of F1 and of other metrics: as text for the terminal, as Markdown and as CSV."""

import csv
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np

from fgnet_jax import aus as aus_lib

F1Row = tuple[str, Sequence[int], Sequence[float] | np.ndarray]
"""The row's name, its K AUs, and their F1 (K,) as fractions."""

Cells = list[list[str]]
"""A table: rows with the same number of cells, the first with the columns' names."""


def f1_table(rows: Sequence[F1Row], title: str = "F1, %") -> str:
    """Format F1 in percent with one decimal, a column per AU, in the last column the mean over the row's own AUs.

    An AU whose F1 is NaN, since it is known in no frame, is shown as `-` and left out of the mean.

    Args:
      rows: They need not have the same AUs: an AU that a row lacks is shown as `-`.
      title: Heading of the column with the rows' names.

    Returns:
      Lines of text of equal width, without a newline at the end.
    """
    with_mean = [(name, dict(zip(aus, f1, strict=True)), _mean(f1)) for name, aus, f1 in rows]
    return as_text(f1_cells(with_mean, title))


def f1_cells(rows: Sequence[tuple[str, Mapping[int, float], float]], title: str = "F1, %") -> Cells:
    """Lay out rows of a name, F1 by AU and mean F1, as fractions, like the paper's tables, in percent.

    An AU that a row lacks, or whose F1 is NaN, is shown as `-`.
    """
    columns = sorted({au for _, f1, _ in rows for au in f1})
    head = [title, *map(aus_lib.label, columns), "mean"]
    lines = [[name, *(percent(f1.get(au)) for au in columns), percent(mean)] for name, f1, mean in rows]
    return [head, *lines]


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Compute the plain mean of the values that are not NaN; NaN where all are."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if finite.size else math.nan


def percent(value: float | None) -> str:
    """Format a fraction in percent with one decimal; `-` for None and NaN."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def as_text(cells: Cells) -> str:
    """Format a table for the terminal: first column left-aligned, others right-aligned, a rule below the header."""
    widths = [max(len(line[k]) for line in cells) for k in range(len(cells[0]))]
    widths[1:] = [max(6, width + 1 + (width > 5)) for width in widths[1:]]
    lines = [
        line[0].ljust(widths[0]) + "".join(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))
        for line in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def as_markdown(cells: Cells) -> str:
    """Format a table as Markdown."""
    rule = ["---", *["---:"] * (len(cells[0]) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [cells[0], rule, *cells[1:]])


def as_csv(cells: Cells) -> str:
    """Format a table as CSV, with a newline at its end; `-` becomes an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["" if cell == "-" else cell for cell in line] for line in cells])
    return text.getvalue()
