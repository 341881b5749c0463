"""Folds share no subject and are as published."""

import pytest

from fgnet_jax import aus
from fgnet_jax.data import folds


@pytest.mark.parametrize(("corpus", "count"), [("bp4d", 41), ("disfa", 27), ("synthetic_bp4d", 41)])
def test_every_subject_is_in_one_fold(corpus: str, count: int) -> None:
    """No subject is tested on by a model that was trained on it."""
    names = folds.subjects(corpus)
    assert len(names) == len(set(names)) == count
    assert {folds.fold_of(corpus, name) for name in names} == {0, 1, 2}


@pytest.mark.parametrize("fold", range(3))
def test_training_and_test_folds_share_no_subject(fold: int) -> None:
    """Train on two folds, test on the third."""
    others = [int(split[-1]) for split in folds.train_splits(fold)]
    assert not set(folds.subjects("disfa", others)) & set(folds.subjects("disfa", [fold]))
    assert sorted([*others, fold]) == [0, 1, 2]


def test_corpora_of_ones_own_have_any_number_of_folds() -> None:
    """A fold is left out of those that there are, which splits' names say."""
    assert folds.numbers(["fold_10", "fold_2", "train", "fold_02"]) == (2, 10)
    assert folds.train_splits(10, (2, 7, 10)) == ("fold_2", "fold_7")
    assert [folds.listed(numbers) for numbers in ((0, 1, 2), (1, 3), (4,))] == ["0 to 2", "1, 3", "4"]
    with pytest.raises(ValueError, match="unknown fold 3: expected 2, 7, 10"):
        folds.train_splits(3, (2, 7, 10))
    with pytest.raises(ValueError, match="there is only fold 4: nothing is left to train on"):
        folds.train_splits(4, (4,))


def test_published_folds_are_known_by_name() -> None:
    """Of whatever preparation, and of the stand-ins."""
    names = ["disfa", "bp4d/9", "synthetic_bp4d/frames9", "disfa_again", "mine"]
    assert [folds.is_published(name) for name in names] == [True, True, True, False, False]


def test_rates_cover_each_corpus_aus() -> None:
    """Every AU that a corpus trains has a published base rate."""
    assert {name: tuple(rates) for name, rates in folds.BASE_RATES.items()} == aus.CORPUS_AUS


def test_held_out_subjects_leave_training() -> None:
    """The choice divides the subjects and depends on the seed, not on the order."""
    names = folds.subjects("bp4d", [1, 2])
    trained_on, held = folds.hold_out(names, 0.15, seed=3)
    assert sorted([*trained_on, *held]) == sorted(names) and len(held) == 4
    assert folds.hold_out(names[::-1], 0.15, seed=3) == (trained_on, held)
    assert folds.hold_out(names, 0.15, seed=4)[1] != held


def test_wrong_names_are_refused() -> None:
    """Errors say what was expected."""
    with pytest.raises(ValueError, match="unknown corpus 'ck'.*synthetic_disfa"):
        folds.family("ck")
    with pytest.raises(ValueError, match="no subject 'SN014'"):
        folds.fold_of("disfa", "SN014")
    with pytest.raises(ValueError, match="unknown fold 3"):
        folds.train_splits(3)
    with pytest.raises(ValueError, match="unknown fold -1"):
        folds.split_name(-1)
    with pytest.raises(ValueError, match="unknown fold 3: expected 0 to 2"):
        folds.subjects("disfa", [3])
    with pytest.raises(ValueError, match="cannot hold out"):
        folds.hold_out(["a"])
