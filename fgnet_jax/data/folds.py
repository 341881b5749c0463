"""Subjects to train and test on: the subject-exclusive folds of each corpus, and subjects held out of training.

Published corpora have three: the partition in common use since DRML (Zhao et al., CVPR 2016), with the frame counts and
the shares of positive frames published with FG-Net (arXiv 2308.12380). A corpus of one's own has as many as it was
prepared with, up to one for each subject (`corpus.corpus_folds`). Imports no JAX and reads no files.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from fgnet_jax.aus import SYNTHETIC

NUM_FOLDS = 3
"""Folds of a published corpus, two to train on and one to test on; of another, where nothing else is asked for."""

_SPLIT = re.compile(r"fold_(0|[1-9]\d*)")

_FOLD_TEXT: dict[str, tuple[str, str, str]] = {
    "bp4d": (
        "F001 F002 F008 F009 F010 F016 F018 F023 M001 M004 M007 M008 M012 M014",
        "F003 F005 F011 F013 F020 F022 M002 M005 M010 M011 M013 M016 M017 M018",
        "F004 F006 F007 F012 F014 F015 F017 F019 F021 M003 M006 M009 M015",
    ),
    "disfa": (
        "SN001 SN002 SN009 SN010 SN016 SN026 SN027 SN030 SN032",
        "SN006 SN011 SN012 SN013 SN018 SN021 SN024 SN028 SN031",
        "SN003 SN004 SN005 SN007 SN008 SN017 SN023 SN025 SN029",
    ),
}

FOLDS: dict[str, tuple[tuple[str, ...], ...]] = {
    corpus: tuple(tuple(line.split()) for line in lines) for corpus, lines in _FOLD_TEXT.items()
}
"""Subjects of each fold, by corpus."""

SEQUENCES: dict[str, tuple[str, ...]] = {"bp4d": tuple(f"T{k}" for k in range(1, 9)), "disfa": ("left",)}
"""Sequences of each subject, by corpus: BP4D's eight tasks; of DISFA, the left camera's video."""

PUBLISHED_FRAMES: dict[str, tuple[int, int, int]] = {"bp4d": (50579, 50157, 45687), "disfa": (43545, 43605, 43161)}
"""Published number of frames with a usable face, by fold."""

BASE_RATES: dict[str, dict[int, float]] = {
    "bp4d": {
        1: 0.211,
        2: 0.170,
        4: 0.203,
        6: 0.461,
        7: 0.549,
        10: 0.594,
        12: 0.562,
        14: 0.466,
        15: 0.169,
        17: 0.344,
        23: 0.165,
        24: 0.151,
    },
    "disfa": {1: 0.050, 2: 0.040, 4: 0.150, 6: 0.079, 9: 0.042, 12: 0.129, 25: 0.278, 26: 0.089},
}
"""Published share of positive frames, by AU."""


def base_name(corpus: str) -> str:
    """Return a corpus' name without the preparation: `disfa` for `disfa/left`."""
    return corpus.split("/")[0]


def family(corpus: str) -> str:
    """Return the corpus whose AUs, subjects and folds a corpus has: `bp4d` for `bp4d` and for `synthetic_bp4d`.

    Raises:
      ValueError: if there are no published folds for it.
    """
    name = corpus.removeprefix(SYNTHETIC)
    if name not in FOLDS:
        known = [*FOLDS, *(SYNTHETIC + k for k in FOLDS)]
        raise ValueError(f"unknown corpus {corpus!r}: expected one of {', '.join(known)}")
    return name


def is_published(corpus: str) -> bool:
    """Return whether a corpus, of whatever preparation (`disfa/…`), has published folds: DISFA, BP4D, stand-ins."""
    return corpus.startswith(SYNTHETIC) or base_name(corpus) in FOLDS


def split_name(fold: int) -> str:
    """Return the name of the split that holds a fold: `fold_0` for 0.

    Raises:
      ValueError: for a number that no fold has.
    """
    if fold < 0:
        raise ValueError(f"unknown fold {fold!r}: folds are numbered from 0")
    return f"fold_{fold}"


def numbers(splits: Iterable[str]) -> tuple[int, ...]:
    """Return the folds that splits hold, ascending: 0 and 2 for `fold_0` and `fold_2`; other splits hold none."""
    found = (_SPLIT.fullmatch(split) for split in splits)
    return tuple(sorted(int(match[1]) for match in found if match))


def train_splits(fold: int, folds: Sequence[int] = range(NUM_FOLDS)) -> tuple[str, ...]:
    """Return the splits to train on when `fold` is tested on: all others.

    Args:
      fold: The fold.
      folds: All folds of the corpus.

    Raises:
      ValueError: if the fold is none of them, or the only one.
    """
    _refuse_unknown(fold, folds)
    if len(folds) < 2:
        raise ValueError(f"there is only fold {fold}: nothing is left to train on when it is tested on")
    return tuple(split_name(k) for k in folds if k != fold)


def _refuse_unknown(fold: int, folds: Sequence[int]) -> None:
    if fold not in folds:
        raise ValueError(f"unknown fold {fold!r}: expected {listed(folds)}")


def listed(folds: Sequence[int]) -> str:
    """Return folds in words for messages: `0 to 2`, or `0, 2` where one is missing."""
    if list(folds) == list(range(folds[0], folds[0] + len(folds))) and len(folds) > 1:
        return f"{folds[0]} to {folds[-1]}"
    return ", ".join(map(str, folds))


def subjects(corpus: str, folds: Iterable[int] = range(NUM_FOLDS)) -> tuple[str, ...]:
    """Return the subjects of these folds of a corpus, in the published order.

    Raises:
      ValueError: for a corpus without published folds, or a fold that is none of them.
    """
    parts, folds = FOLDS[family(corpus)], tuple(folds)
    for fold in folds:
        _refuse_unknown(fold, range(NUM_FOLDS))
    return tuple(s for fold in folds for s in parts[fold])


def fold_of(corpus: str, subject: str) -> int:
    """Return the fold that a subject belongs to.

    Raises:
      ValueError: if the corpus has no such subject.
    """
    for fold, names in enumerate(FOLDS[family(corpus)]):
        if subject in names:
            return fold
    raise ValueError(f"{corpus} has no subject {subject!r}: expected one of {', '.join(subjects(corpus))}")


def hold_out(names: Sequence[str], share: float = 0.15, seed: int = 0) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide training subjects into those to train on and those to choose the best epoch by.

    Args:
      names: Training subjects; their order does not matter.
      share: Share of the subjects to hold out; at least one is held out and at least one is trained on.
      seed: Seed of the random choice.

    Returns:
      Subjects to train on and subjects held out, each sorted.

    Raises:
      ValueError: if there are fewer than two subjects or the share is not between 0 and 1.
    """
    unique = sorted(set(names))
    if len(unique) < 2 or not 0 < share < 1:
        raise ValueError(
            f"cannot hold out a share of {share} of {len(unique)} subject{'s' * (len(unique) != 1)} to train on: "
            "expected 0 < share < 1, and at least 2 subjects (train.select_on='test' holds none out)"
        )
    count = min(len(unique) - 1, max(1, round(share * len(unique))))
    chosen = np.random.default_rng(seed).permutation(len(unique))[:count]
    held = tuple(unique[k] for k in sorted(chosen.tolist()))
    return tuple(s for s in unique if s not in held), held
