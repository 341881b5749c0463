"""Synthetic corpora: base rates, co-occurrence, smooth tracks, and the way to disk and back."""

import multiprocessing
import os
import pathlib
import signal
import time

import numpy as np
import pytest

from fgnet_jax import aus
from fgnet_jax.data import folds
from fgnet_jax.data.corpus import find_corpus, open_corpus, open_directory
from fgnet_jax.data.synthetic import corpus
from fgnet_jax.data.synthetic.builders import make_config, prepare_synthetic
from fgnet_jax.data.synthetic.sheet import au_sheet, intensity_sheet
from fgnet_jax.data.synthetic.tracks import correlation


def _labels(name: str, frames: int, **options) -> np.ndarray:
    return np.concatenate([corpus.labels(r.intensities) for r in corpus.recordings(name, frames, **options)])


@pytest.mark.parametrize("name", ["synthetic_bp4d", "synthetic_disfa"])
def test_base_rates_hold(name: str) -> None:
    """Over a corpus the share of positives is the wanted one to a frame."""
    wanted = list(corpus.base_rates(name).values())
    np.testing.assert_allclose(_labels(name, 2000).mean(0), wanted, atol=1 / 2000)


def test_published_rates_can_be_asked_for() -> None:
    """The floor is a default, not a limit; single rates can be set."""
    rates = corpus.base_rates("disfa", floor=0.0)
    assert rates == folds.BASE_RATES["disfa"]
    share = _labels("disfa", 1000, rates={**rates, 25: 0.0, 26: 1.0}).mean(0)
    np.testing.assert_allclose(share[:2], [0.05, 0.04], atol=1e-3)
    assert share[6] == 0 and share[7] == 1


def test_aus_go_together_as_on_people() -> None:
    """6 comes with 12 and 1 with 2 far more often than chance; 12 and 15 avoid each other."""
    present = _labels("bp4d", 4000).astype(float)
    column = {au: k for k, au in enumerate(aus.CORPUS_AUS["bp4d"])}
    correlated = np.corrcoef(present.T)
    assert correlated[column[6], column[12]] > 0.25
    assert correlated[column[1], column[2]] > 0.25
    assert correlated[column[12], column[15]] < -0.1
    assert np.linalg.eigvalsh(correlation(aus.CORPUS_AUS["bp4d"])).min() > 0


def test_intensities_are_clear_and_smooth() -> None:
    """Few frames lie near the threshold, and expressions come and go over several frames."""
    one = corpus.recordings("disfa", 27 * 60)[0].intensities
    every = np.concatenate([r.intensities for r in corpus.recordings("disfa", 27 * 60)])
    assert every.min() >= 0 and 4 < every.max() <= 5
    assert ((every > 1.4) & (every < 2.6)).mean() < 0.06
    assert np.abs(np.diff(one, axis=0)).mean() < 0.4


def test_subjects_and_sequences_are_the_corpus_own() -> None:
    """Frames are spread evenly over all subjects; BP4D's eight tasks appear."""
    items = corpus.recordings("synthetic_bp4d", 41 * 8 * 2)
    assert {r.subject for r in items} == set(folds.subjects("bp4d"))
    assert {r.sequence for r in items} == set(folds.SEQUENCES["bp4d"])
    assert {len(r.views) for r in items} == {2}
    assert {r.subject for r in corpus.recordings("synthetic_bp4d", 41)} == set(folds.subjects("bp4d"))


def test_faces_do_not_depend_on_how_many_are_drawn() -> None:
    """A person is the same person in a small and in a large corpus, and another one under another seed."""
    assert corpus.person("disfa", "SN001").texture_seed == corpus.recordings("disfa", 27)[0].who.texture_seed
    assert corpus.person("disfa", "SN001").texture_seed != corpus.person("disfa", "SN001", seed=1).texture_seed


def test_twins_look_different() -> None:
    """DISFA's room is darker than BP4D's studio: what makes crossing corpora hard."""
    bp4d, _, present = corpus.random_faces("synthetic_bp4d", 8)
    disfa, landmarks, _ = corpus.random_faces("synthetic_disfa", 8)
    assert bp4d.mean() > disfa.mean() + 25
    assert present.shape == (8, 12) and present.dtype == np.int8
    assert landmarks.shape == (8, 68, 2)


def test_round_trip(tmp_path: pathlib.Path) -> None:
    """What is read back is what was planned, fold by fold; asked for again, nothing is drawn."""
    builder = prepare_synthetic("synthetic_disfa", tmp_path, frames=30, seed=2)
    planned = corpus.recordings("synthetic_disfa", 30, seed=2)
    faces = open_corpus("synthetic_disfa", tmp_path, "fold_0+fold_1+fold_2")
    assert faces.aus == aus.CORPUS_AUS["disfa"] and len(faces) == 30
    fold_1 = open_directory(builder.data_dir, "fold_1")
    assert {fold_1[k]["subject"] for k in range(len(fold_1))} == set(folds.FOLDS["disfa"][1])
    drawn, face = planned[0].render(0), faces[0]
    assert face["subject"] == planned[0].subject and face["sequence"] == "left" and face["frame"] == 1
    np.testing.assert_array_equal(face["landmarks"], drawn.landmarks)
    np.testing.assert_array_equal(face["intensities"], planned[0].intensities[0])
    np.testing.assert_array_equal(face["labels"], corpus.labels(planned[0].intensities[0]))
    blocks = (face["image"].astype(float) - drawn.image).reshape(32, 8, 32, 8, 3).mean((1, 3))
    assert np.abs(blocks).max() < 8  # JPEG loses some of the sensor's colour noise, nothing larger
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.array_record*")}
    prepare_synthetic("synthetic_disfa", tmp_path, frames=30, seed=2)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.array_record*")} == before


def test_another_setting_is_another_folder(tmp_path: pathlib.Path) -> None:
    """Nothing prepared for other settings is reused; the name then has to say which is meant."""
    for seed in (0, 1):
        prepare_synthetic("synthetic_disfa", tmp_path, frames=3, seed=seed)
    with pytest.raises(ValueError, match="prepared more than once.*frames3_seed0.*frames3_seed1"):
        find_corpus("synthetic_disfa", tmp_path)
    name = f"synthetic_disfa/{make_config(3, 1).name}"
    assert len(open_corpus(name, tmp_path, ["fold_0", "fold_1", "fold_2"])) == 3
    assert make_config(3, 1, {1: 0.5}).name != make_config(3, 1).name


def _prepare_forever(folder: str) -> None:
    prepare_synthetic("synthetic_disfa", folder, frames=20000)


def test_killed_preparation_recovers(tmp_path: pathlib.Path) -> None:
    """A run that is killed leaves nothing that opens, and the next one clears it away."""
    process = multiprocessing.get_context("spawn").Process(target=_prepare_forever, args=(str(tmp_path),))
    process.start()
    limit = time.monotonic() + 60
    while not list(tmp_path.rglob("incomplete.*")):
        assert time.monotonic() < limit and process.is_alive()
        time.sleep(0.05)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with pytest.raises(FileNotFoundError, match="no prepared corpus"):
        open_corpus("synthetic_disfa", tmp_path, "fold_0")
    left = next(tmp_path.rglob("incomplete.*"))
    folder = left.parent
    folder.rename(folder.parent / make_config(3).name)  # as if the killed run had been for three frames
    prepare_synthetic("synthetic_disfa", tmp_path, frames=3)
    assert not list(tmp_path.rglob("incomplete.*"))
    assert len(open_corpus("synthetic_disfa", tmp_path, ("fold_0", "fold_1", "fold_2"))) == 3


def test_drawing_in_several_processes_gives_the_same_bytes() -> None:
    """Workers change the pace only."""
    items = corpus.recordings("synthetic_bp4d", 4)
    alone = [[jpeg for jpeg, _ in drawn] for _, drawn in corpus.draw_all(items)]
    together = [[jpeg for jpeg, _ in drawn] for _, drawn in corpus.draw_all(items, workers=2)]
    assert alone == together


def test_wrong_input_is_named(tmp_path: pathlib.Path) -> None:
    """Unknown corpora, AUs, splits and counts say what was expected."""
    with pytest.raises(ValueError, match="unknown synthetic corpus 'bp4d'.*synthetic_bp4d"):
        prepare_synthetic("bp4d", tmp_path)
    with pytest.raises(ValueError, match="has no AU 9"):
        prepare_synthetic("synthetic_bp4d", tmp_path, rates={9: 0.5})
    with pytest.raises(ValueError, match="base rate of AU 1 is 1.5"):
        prepare_synthetic("synthetic_bp4d", tmp_path, rates={1: 1.5})
    with pytest.raises(ValueError, match="corpus of 0 frames"):
        prepare_synthetic("synthetic_bp4d", tmp_path, frames=0)
    assert not list(tmp_path.iterdir())
    prepare_synthetic("synthetic_disfa", tmp_path, frames=3)
    with pytest.raises(ValueError, match="no split 'test'.*fold_0"):
        open_corpus("synthetic_disfa", tmp_path, "test")
    with pytest.raises(IndexError, match="no face 3"):
        open_corpus("synthetic_disfa", tmp_path, "fold_0+fold_1+fold_2")[3]


def test_sheets() -> None:
    """Sheets hold every AU once, and every intensity."""
    assert au_sheet().shape == (4 * 256, 4 * 256, 3)
    assert intensity_sheet(12).shape == (256, 6 * 256, 3)
