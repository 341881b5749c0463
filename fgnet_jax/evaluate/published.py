"""Results of FG-Net's paper (Yin et al., WACV 2024, arXiv 2308.12380), to be shown beside new ones.

Constants only. F1 as fractions, each of the epoch that was best on the test fold. The paper's within-corpus F1 by AU is
not included, and the two within-corpus means are quoted from second hand: check the paper before quoting them.
"""

import dataclasses

from fgnet_jax.data.folds import base_name


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """A row of the paper's tables.

    Attributes:
      name: The row's name.
      f1: F1 by AU; empty where only the mean is included here.
      mean: Mean F1 over the AUs of the row.
    """

    name: str
    f1: dict[int, float]
    mean: float


_ROWS: dict[tuple[str, str], PublishedRow] = {
    ("bp4d", "bp4d"): PublishedRow("FG-Net, BP4D", {}, 0.643),
    ("disfa", "disfa"): PublishedRow("FG-Net, DISFA", {}, 0.654),
    ("bp4d", "disfa"): PublishedRow(
        "FG-Net, BP4D to DISFA", {1: 0.613, 2: 0.705, 4: 0.363, 6: 0.422, 12: 0.615}, 0.544
    ),
    ("disfa", "bp4d"): PublishedRow("FG-Net, DISFA to BP4D", {1: 0.514, 2: 0.460, 4: 0.360, 6: 0.496, 12: 0.62}, 0.490),
}


def row(source: str, target: str) -> PublishedRow | None:
    """Return the paper's results of training on one corpus and testing on another, or on itself; None without any.

    Args:
      source: Trained on: `bp4d`, `synthetic_bp4d`, with a configuration after a slash or not.
      target: Tested on.

    Returns:
      For a synthetic stand-in the row of the corpus that it stands in for, with "(real faces)" after its name.
    """
    names = [base_name(name) for name in (source, target)]
    real_source, real_target = (name.removeprefix("synthetic_") for name in names)
    published = _ROWS.get((real_source, real_target))
    if published is None or names == [real_source, real_target]:
        return published
    return dataclasses.replace(published, name=f"{published.name} (real faces)")
