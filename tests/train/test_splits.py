"""The faces that a run trains on, selects its best epoch on, and is tested on: never the same subjects."""

import numpy as np
import pytest

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds
from fgnet_jax.prepare import __main__ as prepare
from fgnet_jax.runtime.files import NotWritableError
from fgnet_jax.train import splits
from fgnet_jax.train.config import ConfigError
from tests.prepare.corpora import own_arguments, own_table
from tests.train import tiny


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Return a folder for corpora, rendered when they are first opened."""
    return tmp_path_factory.mktemp("data")


def _open(directory, **changes):
    return splits.open_run(tiny.config(**{"data.dir": str(directory), "data.frames": 60} | changes))


def _subjects(faces):
    return set(faces.corpus.subjects()[faces.indices])


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    """Without a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritableError, match="data.dir: cannot render synthetic_bp4d into .*file/data"):
        _open(tmp_path / "file/data")


def test_no_subject_is_both_trained_and_tested_on(directory):
    """Two folds are trained on, but for the held-out subjects to select the best epoch on; the third is tested on."""
    for fold in range(3):
        data = _open(directory, **{"data.fold": fold})
        train, select, test = map(_subjects, (data.train, data.select, data.test))
        assert not train & select and not train & test and not select & test
        assert test == set(folds.subjects("bp4d", [fold]))
        assert train | select == set(folds.subjects("bp4d")) - test
        assert f"{len(select)} held-out training subjects ({', '.join(sorted(select))})" in data.selection
        assert data.test.name == f"synthetic_bp4d fold_{fold}"


def test_the_published_protocol_selects_on_the_test_fold(directory):
    """All other subjects are trained on, and reports name the rule."""
    data = _open(directory, **{"train.select_on": "test"})
    assert _subjects(data.select) == _subjects(data.test)
    assert _subjects(data.train) == set(folds.subjects("bp4d", [1, 2]))
    assert data.selection == "best epoch on the test fold, as published"


def test_samples_are_the_beginning_of_one_permutation(directory):
    """So the faces of a larger data-efficiency run contain those of a smaller one."""
    five, twenty, everything = (_open(directory, **{"data.samples": n}).train.indices for n in (5, 20, 0))
    assert len(five) == 5 and len(twenty) == 20
    assert set(five) <= set(twenty) <= set(everything)
    np.testing.assert_array_equal(five, _open(directory, **{"data.samples": 5}).train.indices)


def test_the_seed_of_a_run_does_not_move_its_data(directory):
    """Held-out subjects and samples are drawn by data.seed, and so are rendered faces, of another corpus then."""
    first, same = (_open(directory, **{"data.samples": 20, "seed": seed}) for seed in (0, 5))
    np.testing.assert_array_equal(first.train.indices, same.train.indices)
    np.testing.assert_array_equal(first.select.indices, same.select.indices)
    other = _open(directory, **{"data.samples": 20, "data.seed": 1})
    assert _subjects(other.select) != _subjects(first.select)
    assert other.identities[0].fingerprint != first.identities[0].fingerprint == same.identities[0].fingerprint


def test_evaluation_frames_are_evenly_spaced(directory):
    """First and last among them; the test fold stays complete."""
    complete = _open(directory)
    data = _open(directory, **{"train.eval_frames": 4})
    assert len(data.select.indices) == 4 and len(np.unique(data.select.indices)) == 4
    assert (
        data.select.indices[0] == complete.select.indices[0] and data.select.indices[-1] == complete.select.indices[-1]
    )
    np.testing.assert_array_equal(data.test.indices, complete.test.indices)


def test_further_corpora_are_tested_on_their_own_fold(directory):
    """With their own AUs."""
    (other,) = _open(directory, **{"data.also_test": ("synthetic_disfa",)}).also_test
    assert other.name == "synthetic_disfa fold_0"
    assert _subjects(other) == set(folds.subjects("disfa", [0]))


def test_two_corpora_are_trained_together(directory):
    """With the union of their AUs; the second's fold is tested too, and no tested subject is trained or selected on."""
    data = _open(directory, **{"data.also_train": ("synthetic_disfa",)})
    assert data.aus == (*CORPUS_AUS["bp4d"], 9, 25, 26)
    assert data.train.name == "synthetic_bp4d+synthetic_disfa training folds"
    subjects = data.train.corpus.subjects_by_corpus(np.concatenate([data.train.indices, data.select.indices]))
    for name, tested in (("synthetic_bp4d", data.test), ("synthetic_disfa", data.also_test[0])):
        assert tested.name == f"{name} fold_0" and tested.corpus.subjects_by_corpus(tested.indices).keys() == {name}
        assert set(subjects[name]) == set(folds.subjects(name, [1, 2]))
        assert set(tested.corpus.subjects_by_corpus(tested.indices)[name]) == set(folds.subjects(name, [0]))
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
def test_what_does_not_exist_is_refused(directory, changes, error, message):
    """By name."""
    with pytest.raises(error, match=message):
        _open(directory, **changes)


@pytest.mark.parametrize(
    ("learnt", "tested"),
    [
        (tiny.faces("disfa/left", ["SN001", "SN002"]), tiny.faces("disfa/right", ["SN002"])),
        (tiny.faces("disfa", ["SN002"]), tiny.faces("disfa_again", ["SN002"], recordings="disfa")),
    ],
)
def test_a_tested_subject_is_not_trained_on_under_another_name(learnt, tested):
    """Two preparations of the same recordings whose folds differ: as the corpus, among `also_train`, or selected on."""
    own = tiny.faces("bp4d", ["F001"])
    message = r"tested on 1 subjects who are trained or selected on as subjects of disfa, the same recordings: SN002; "
    for run in (
        tiny.run_data(learnt, tested),
        tiny.run_data(learnt, own, also_test=(tested,)),
        tiny.run_data(own, tested, select=learnt),
    ):
        with pytest.raises(ConfigError, match=message):
            splits.check_tests(run)


def test_equal_names_of_other_people_are_no_leak():
    """Of another corpus, of its rendered stand-in, and of custom corpora with a layout in common."""
    learnt = tiny.faces("disfa", ["SN002"], layout="disfa")
    for name, layout in (("synthetic_disfa", None), ("smiles", "csv"), ("disfa_plus", "disfa")):
        splits.check_tests(tiny.run_data(learnt, tiny.faces(name, ["SN002"], layout=layout)))
    splits.check_tests(tiny.run_data(tiny.faces("a", ["1"], layout="csv"), tiny.faces("b", ["1"], layout="csv")))


def test_a_run_knows_the_identity_of_every_corpus(directory):
    """Of those trained on, then those tested on, each once."""
    data = _open(directory, **{"data.also_train": ("synthetic_disfa",)})
    assert [identity.name.split("/")[0] for identity in data.identities] == ["synthetic_bp4d", "synthetic_disfa"]
    assert data.identities[1].aus == CORPUS_AUS["disfa"] and len(data.identities[1].fingerprint) == 12


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Prepare corpora of four subjects, each a fold, and of the same in two folds; return their folder."""
    root = own_table(tmp_path_factory.mktemp("own"), subjects=4)
    data = root / "data"
    assert prepare.main(own_arguments(root, data, "--folds", "subjects")) == 0
    assert prepare.main(own_arguments(root, data, "--folds", "2", name="halves")) == 0
    return data


def test_one_subject_is_left_out(own):
    """Each fold is a subject: the others are trained on, but for one who is held out."""
    for fold in range(4):
        data = _open(own, **{"data.corpus": "mine", "data.fold": fold})
        train, select, test = map(_subjects, (data.train, data.select, data.test))
        assert test == {f"p{fold}"} and len(select) == 1 and len(train) == 2
        assert train | select | test == {f"p{k}" for k in range(4)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.corpus": "mine", "data.fold": 4}, "data: unknown fold 4: expected 0 to 3"),
        (
            {"data.corpus": "mine", "data.also_train": ("halves",)},
            "mine has folds 0 to 3, and halves of data.also_train 0 to 1: prepare both with the same number of folds",
        ),
        ({"data.corpus": "mine", "data.fold": 3, "data.also_test": ("halves",)}, "halves has no split 'fold_3'"),
    ],
)
def test_folds_that_a_corpus_does_not_have_are_refused(own, changes, message):
    """The message says which there are."""
    with pytest.raises(ConfigError, match=message):
        _open(own, **changes)


def test_a_single_subject_to_train_on_cannot_be_divided(tmp_path):
    """Of two subjects and folds, one is tested: to hold out another leaves none."""
    root = own_table(tmp_path / "own", subjects=2)
    assert prepare.main(own_arguments(root, tmp_path / "data", "--folds", "subjects")) == 0
    with pytest.raises(
        ConfigError, match="cannot hold out a share of 0.* of 1 subject to train on: .*select_on='test'"
    ):
        _open(tmp_path / "data", **{"data.corpus": "mine"})
    data = _open(tmp_path / "data", **{"data.corpus": "mine", "train.select_on": "test"})
    assert _subjects(data.train) == {"p1"} and _subjects(data.test) == {"p0"}
