"""Whom a run trains on, selects by, and is tested on: never the same people."""

import numpy as np
import pytest

from configs import tiny
from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds
from fgnet_jax.runtime.files import NotWritableError
from fgnet_jax.train import splits
from fgnet_jax.train.config import ConfigError


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A folder of corpora, drawn when first asked for."""
    return tmp_path_factory.mktemp("data")


def _open(directory, **changes):
    config = tiny.get_config()
    config.update_from_flattened_dict({"data.dir": str(directory), "data.frames": 60} | changes)
    return splits.open_run(config)


def _people(faces):
    return set(faces.corpus.subjects()[faces.indices])


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    """Without a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritableError, match="data.dir: cannot draw synthetic_bp4d into .*file/data"):
        _open(tmp_path / "file/data")


def test_nobody_is_both_trained_and_tested_on(directory):
    """Two folds trained on, less the held-out subjects, which the best epoch is selected by; the third tested on."""
    for fold in range(3):
        data = _open(directory, **{"data.fold": fold})
        train, select, test = map(_people, (data.train, data.select, data.test))
        assert not train & select and not train & test and not select & test
        assert test == set(folds.subjects("bp4d", [fold]))
        assert train | select == set(folds.subjects("bp4d")) - test
        assert f"{len(select)} held-out training subjects ({', '.join(sorted(select))})" in data.selection
        assert data.test.name == f"synthetic_bp4d fold_{fold}"


def test_the_published_habit_selects_on_the_test_fold(directory):
    """Everyone else is trained on, and reports say so."""
    data = _open(directory, **{"train.select_on": "test"})
    assert _people(data.select) == _people(data.test)
    assert _people(data.train) == set(folds.subjects("bp4d", [1, 2]))
    assert data.selection == "best epoch on the test fold, as published"


def test_samples_are_the_beginning_of_one_permutation(directory):
    """So a larger data-efficiency run contains the smaller; the people tested on stay."""
    few, more, everything = (_open(directory, **{"data.samples": n}).train.indices for n in (5, 20, 0))
    assert len(few) == 5 and len(more) == 20
    assert set(few) <= set(more) <= set(everything)
    np.testing.assert_array_equal(few, _open(directory, **{"data.samples": 5}).train.indices)


def test_evaluation_frames_are_evenly_spaced(directory):
    """First and last among them; the test fold stays whole."""
    whole = _open(directory)
    data = _open(directory, **{"train.eval_frames": 4})
    assert len(data.select.indices) == 4 and len(np.unique(data.select.indices)) == 4
    assert data.select.indices[0] == whole.select.indices[0] and data.select.indices[-1] == whole.select.indices[-1]
    np.testing.assert_array_equal(data.test.indices, whole.test.indices)


def test_further_corpora_are_tested_on_their_own_fold(directory):
    """With their own AUs."""
    (other,) = _open(directory, **{"data.also_test": ("synthetic_disfa",)}).also_test
    assert other.name == "synthetic_disfa fold_0"
    assert _people(other) == set(folds.subjects("disfa", [0]))


def test_two_corpora_are_trained_together(directory):
    """With the union of their AUs; the second's fold is tested too, and nobody tested is trained or selected on."""
    data = _open(directory, **{"data.also_train": ("synthetic_disfa",)})
    assert data.aus == (*CORPUS_AUS["bp4d"], 9, 25, 26)
    assert data.train.name == "synthetic_bp4d+synthetic_disfa training folds"
    seen = data.train.corpus.people(np.concatenate([data.train.indices, data.select.indices]))
    for name, tested in (("synthetic_bp4d", data.test), ("synthetic_disfa", data.also_test[0])):
        assert tested.name == f"{name} fold_0" and tested.corpus.people(tested.indices).keys() == {name}
        assert set(seen[name]) == set(folds.subjects(name, [1, 2]))
        assert set(tested.corpus.people(tested.indices)[name]) == set(folds.subjects(name, [0]))
    labels = np.stack([data.train.corpus.record(k)["labels"] for k in data.train.indices])
    from_disfa = np.char.startswith(data.train.corpus.subjects()[data.train.indices], "synthetic_disfa/")
    lacks = np.array([au not in CORPUS_AUS["disfa"] for au in data.aus])
    assert (labels[from_disfa][:, lacks] == -1).all() and (labels[from_disfa][:, ~lacks] >= 0).all()
    assert (labels[~from_disfa][:, -3:] == -1).all() and (labels[~from_disfa][:, :-3] >= 0).all()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data.fold": 7}, ConfigError, "data: unknown fold 7: expected 0 to 2"),
        ({"data.held_out": 1.5}, ConfigError, "cannot hold out a share of 1.5"),
        ({"data.corpus": "synthetic_ck"}, ConfigError, "unknown synthetic corpus 'synthetic_ck'"),
        ({"data.corpus": "disfa"}, FileNotFoundError, "no prepared corpus 'disfa'"),
    ],
)
def test_what_is_not_there_is_refused(directory, changes, error, message):
    """By name."""
    with pytest.raises(error, match=message):
        _open(directory, **changes)
