"""What FG-Net's paper reports (Yin et al., WACV 2024, arXiv 2308.12380), to stand beside one's own figures.

Constants only. F1 as fractions, each of the epoch that was best on the test fold. The paper's within-corpus figures by
AU are not among them, and the two means are quoted from second hand: check the paper before quoting them.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """A row of the paper.

    Attributes:
      name: What tables call it.
      f1: F1 by AU; empty where only the mean is known here.
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
    """What the paper reports of training on one corpus and testing on another, or on itself; None where nothing.

    Args:
      source: Trained on: `bp4d`, `synthetic_bp4d`, with a configuration behind a slash or not.
      target: Tested on.

    Returns:
      For a synthetic twin the row of its original, under a name that says so.
    """
    names = [name.split("/")[0] for name in (source, target)]
    one, other = (name.removeprefix("synthetic_") for name in names)
    found = _ROWS.get((one, other))
    if found is None or names == [one, other]:
        return found
    return dataclasses.replace(found, name=f"{found.name} (real faces)")
