"""Teachers: the union of their AUs, the mean of their heatmaps, and scores as `predict` computes them."""

import numpy as np
import pytest

import fgnet_jax
from fgnet_jax.distill import teachers as teachers_lib
from fgnet_jax.distill.teachers import Teachers
from fgnet_jax.metrics import calibration
from fgnet_jax.models import lineage, weights
from tests.distill import small

FACES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return two teachers, of AUs 1, 12 and 25, and of 12, 4 and 26."""
    folder = tmp_path_factory.mktemp("teachers")
    return [small.teacher(folder / "a"), small.teacher(folder / "b", aus=(12, 4, 26), seed=1, corpus="disfa")]


def test_two_teachers_give_the_union_of_their_aus(pair):
    """Sorted; an AU of both has the mean of their heatmaps and scores, another its only teacher's.

    Heatmaps are averaged over blocks of pixels, and scores are those of `predict`.
    """
    both = Teachers(teachers_lib.open_all(list(map(str, pair))), map_size=8, batch_size=2)
    assert both.aus == (1, 4, 12, 25, 26) and both.sides == (64,)
    parts = [both.start({64: FACES[:2]}).result(), both.start({64: FACES[2:]}).result()]
    maps, scores = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    assert maps.shape == (3, 8, 8, 5) and maps.dtype == np.float16
    a, b = (fgnet_jax.Detector.load(folder, batch_size=2).predict(FACES) for folder in pair)
    alone = {1: (a, 0), 4: (b, 1), 25: (a, 2), 26: (b, 2)}
    for column, au in enumerate(both.aus):
        sources = [(a, 1), (b, 0)] if au == 12 else [alone[au]]
        expected = np.mean([predicted.scores[:, k] for predicted, k in sources], 0)
        np.testing.assert_allclose(scores[:, column], expected, atol=1e-5)
        expected = np.mean([_blocks(predicted.heatmaps, k) for predicted, k in sources], 0)
        np.testing.assert_allclose(maps[..., column], expected, atol=2e-3)


def _blocks(maps, k):
    """Average one of heatmaps (N, 16, 16, K) over blocks of two by two."""
    return maps[..., k].reshape(-1, 8, 2, 8, 2).mean((2, 4))


def test_of_a_corpus_that_teachers_have_learnt_from_they_alone_count(pair):
    """Of the AUs that they have; of unknown faces, and of another corpus, all count alike."""
    both = Teachers(teachers_lib.open_all(list(map(str, pair))), map_size=8, batch_size=3)
    maps, scores = both.start({64: FACES}, ["disfa/left", "", "bp4d_plus"]).result()
    plain_maps, plain_scores = both.start({64: FACES}).result()
    a, b = (fgnet_jax.Detector.load(folder, batch_size=3).predict(FACES).scores for folder in pair)
    shared = both.aus.index(12)
    np.testing.assert_allclose(scores[:, shared], [b[0, 0], *(a[1:, 1] + b[1:, 0]) / 2], atol=1e-5)
    assert np.abs(a[0, 1] - b[0, 0]) > 1e-3 and np.abs(maps - plain_maps)[0, ..., shared].max() > 1e-3
    others = [k for k in range(len(both.aus)) if k != shared]
    np.testing.assert_array_equal(scores[:, others], plain_scores[:, others])
    np.testing.assert_array_equal(maps[1:], plain_maps[1:])


def test_heatmaps_are_not_clipped(pair, tmp_path):
    """Of a teacher whose output is a hundred times as large."""
    config, variables, meta = weights.load(pair[0])
    path = "interpreter/output/kernel"
    variables.params[path] = 100 * variables.params[path]
    weights.save(tmp_path / "loud", config, variables, meta)
    loud = Teachers(teachers_lib.open_all([str(tmp_path / "loud")]), map_size=8, batch_size=2)
    maps, scores = loud.start({64: FACES[:2]}).result()
    assert np.abs(maps).max() > 1 and np.abs(scores).max() <= 1


def test_a_fold_that_is_given_is_recorded(pair):
    """For weights that do not say which they left out."""
    (teacher,) = teachers_lib.open_all([str(pair[1])], fold=2)
    assert [link.fold for link in teacher.links] == [2]
    (plain,) = teachers_lib.open_all([str(pair[1])])
    assert [link.fold for link in plain.links] == [None] and lineage.links(plain.meta) == plain.links


def test_a_teacher_of_intensities_is_said_to_be_one(pair, tmp_path):
    """The student gets no calibration."""
    opened = teachers_lib.open_all(list(map(str, pair)))
    assert teachers_lib.remarks(opened) == []
    fitted = calibration.Calibration({12: (np.array([0.0, 0.2]), np.array([1.0, 4.0]))}, {"own": ["a", "b"]})
    small.teacher(tmp_path / "i", aus=(12,), extra={calibration.KEY: fitted.to_dict()})
    (line,) = teachers_lib.remarks(teachers_lib.open_all([str(tmp_path / "i")]))
    assert line == "i knows intensities; the student learns presence alone, and gets no calibration"


def test_teachers_of_one_name_and_of_the_students_are_told_apart(tmp_path):
    """By their parent folders: results and lineage are by name. One that is given twice is the same."""
    folders = [str(small.teacher(tmp_path / name)) for name in ("a/t", "b/t", "c/student")]
    assert [teacher.name for teacher in teachers_lib.open_all(folders[:2])] == ["a_t", "b_t"]
    assert [teacher.name for teacher in teachers_lib.open_all(folders[2:])] == ["c_student"]
    assert [teacher.name for teacher in teachers_lib.open_all([folders[0], folders[0]])] == ["t", "t"]
