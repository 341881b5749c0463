"""The ranking of evaluations, and the folders of their weights, whatever a kill leaves of them."""

import shutil

import pytest

from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.train import best
from fgnet_jax.train.best import Evaluation, Ranking

VALUES = {10: 0.5, 20: 0.7, 30: 0.6, 40: 0.7, 50: 0.8}
"""Metric of five evaluations, by their steps."""


def ranked(count, keep=3):
    """Return the ranking after the first evaluations."""
    ranking = Ranking()
    for step in [*VALUES][:count]:
        ranking = ranking.added(Evaluation(VALUES[step], step), keep)
    return ranking


def save(workdir, ranking, step):
    """Write a tiny network as the weights of a step."""
    meta = WeightsMeta(extra={"step": step})
    best.save(workdir, ranking, config=TINY, variables=fgnet.init(TINY, seed=step), meta=meta)


def folders(workdir):
    """Return the step of every folder of weights by its name."""
    return {path.name: weights.load_meta(path).extra["step"] for path in sorted(workdir.glob("best*"))}


def test_the_best_come_first():
    """Of equal ones the earlier; the count of evaluations since the best begins anew with each better one."""
    assert [ranked(count).steps for count in range(1, 6)] == [(10,), (20, 10), (20, 30, 10), (20, 40, 30), (50, 20, 40)]
    assert [ranked(count).since for count in range(1, 6)] == [0, 0, 1, 2, 0]
    assert [ranked(count, keep=1).steps for count in range(1, 6)] == [(10,), (20,), (20,), (20,), (50,)]


def test_a_ranking_survives_a_checkpoint():
    """And those of earlier versions, which stored the best epoch alone, or that there was none yet."""
    assert Ranking.from_dict(ranked(4).to_dict()) == ranked(4)
    earlier = Ranking.from_dict({"mean_f1": 0.5, "step": 10, "epochs_since": 2})
    assert earlier == Ranking((Evaluation(0.5, 10),), 2)
    assert Ranking.from_dict({"mean_f1": -1.0, "step": 0, "epochs_since": 0}) == Ranking()


def test_every_rank_has_its_folder(tmp_path):
    """Weights move back when better ones come, and leave at the end."""
    for count, step in enumerate(VALUES, 1):
        if step in ranked(count).steps:
            save(tmp_path, ranked(count), step)
    assert folders(tmp_path) == {"best": 50, "best_2": 20, "best_3": 40}
    assert weights.checksum(weights.load(tmp_path / "best_2")[1]) == weights.checksum(fgnet.init(TINY, seed=20))


def test_one_folder_is_replaced(tmp_path):
    """Where one is kept, as by default."""
    for count, step in ((1, 10), (2, 20)):
        save(tmp_path, ranked(count, keep=1), step)
    assert folders(tmp_path) == {"best": 20}


class KilledError(Exception):
    """In place of a kill."""


@pytest.mark.parametrize("moves", range(6))
def test_a_kill_between_two_moves_is_put_right(tmp_path, monkeypatch, moves):
    """The evaluation is done again; before that, no weights of the checkpoint's ranking but the last are lost."""
    for count, step in ((1, 10), (2, 20), (3, 30)):
        save(tmp_path, ranked(count), step)
    rename, done = type(tmp_path).rename, []

    def counted(path, target):
        if len(done) == moves:
            raise KilledError
        done.append(target)
        return rename(path, target)

    following = ranked(3).added(Evaluation(0.9, 35), 3)
    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "rename", counted)
        with pytest.raises(KilledError):
            save(tmp_path, following, 35)
    resumed = best.resumed(tmp_path, ranked(3))
    assert resumed.steps in ((20, 30, 10), (20, 30))
    again = resumed.added(Evaluation(0.9, 35), 3)
    save(tmp_path, again, 35)
    assert again.steps == (35, 20, 30)
    assert folders(tmp_path) == {"best": 35, "best_2": 20, "best_3": 30}


def test_evaluations_without_weights_are_forgotten(tmp_path):
    """A checkpoint of before the evaluation whose weights took their place."""
    save(tmp_path, ranked(2, keep=1), 20)
    assert best.resumed(tmp_path, ranked(1, keep=1)).steps == ()
    assert best.resumed(tmp_path, ranked(2, keep=1)) == ranked(2, keep=1)
    shutil.rmtree(tmp_path / "best")
    assert best.resumed(tmp_path, ranked(2, keep=1)).steps == ()


def test_half_removed_weights_have_no_name_of_weights(tmp_path):
    """They are in nobody's way."""
    (tmp_path / "best.removed").mkdir()
    save(tmp_path, ranked(1), 10)
    save(tmp_path, Ranking().added(Evaluation(1.0, 60), 3), 60)
    assert best.saved(tmp_path) == {60: tmp_path / "best"}
