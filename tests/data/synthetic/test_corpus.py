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
from fgnet_jax.data.synthetic.tracks import correlation
from tests.data.synthetic.sheet import au_sheet, intensity_sheet


def _labels(name: str, frames: int, **options) -> np.ndarray:
    return np.concatenate([corpus.labels(r.intensities) for r in corpus.recordings(name, frames, **options)])


@pytest.mark.parametrize("name", ["synthetic_bp4d", "synthetic_disfa"])
def test_base_rates_hold(name: str) -> None:
    """Over a corpus the share of positives is the given one to a frame."""
    rates = list(corpus.base_rates(name).values())
    np.testing.assert_allclose(_labels(name, 2000).mean(0), rates, atol=1 / 2000)


def test_published_rates_can_be_set() -> None:
    """The floor is a default, not a limit; single rates can be set."""
    rates = corpus.base_rates("disfa", floor=0.0)
    assert rates == folds.BASE_RATES["disfa"]
    positives = _labels("disfa", 1000, rates={**rates, 25: 0.0, 26: 1.0}).mean(0)
    np.testing.assert_allclose(positives[:2], [0.05, 0.04], atol=1e-3)
    assert positives[6] == 0 and positives[7] == 1


def test_aus_co_occur_as_on_real_faces() -> None:
    """6 occurs with 12 and 1 with 2 far more often than by chance; 12 and 15 exclude each other."""
    present = _labels("bp4d", 4000).astype(float)
    column = {au: k for k, au in enumerate(aus.CORPUS_AUS["bp4d"])}
    correlated = np.corrcoef(present.T)
    assert correlated[column[6], column[12]] > 0.25
    assert correlated[column[1], column[2]] > 0.25
    assert correlated[column[12], column[15]] < -0.1
    assert np.linalg.eigvalsh(correlation(aus.CORPUS_AUS["bp4d"])).min() > 0


def test_intensities_are_clear_and_smooth() -> None:
    """Few frames lie near the threshold, and expressions come and go over several frames."""
    first = corpus.recordings("disfa", 27 * 60)[0].intensities
    every = np.concatenate([r.intensities for r in corpus.recordings("disfa", 27 * 60)])
    assert every.min() >= 0 and 4 < every.max() <= 5
    assert ((every > 1.4) & (every < 2.6)).mean() < 0.06
    assert np.abs(np.diff(first, axis=0)).mean() < 0.4


def test_subjects_and_sequences_are_those_of_the_corpus() -> None:
    """Frames are spread evenly over all subjects; BP4D's eight tasks appear."""
    items = corpus.recordings("synthetic_bp4d", 41 * 8 * 2)
    assert {r.subject for r in items} == set(folds.subjects("bp4d"))
    assert {r.sequence for r in items} == set(folds.SEQUENCES["bp4d"])
    assert {len(r.views) for r in items} == {2}
    assert {r.subject for r in corpus.recordings("synthetic_bp4d", 41)} == set(folds.subjects("bp4d"))


def test_identities_do_not_depend_on_the_number_of_frames() -> None:
    """A subject looks the same in a small and in a large corpus, and different with another seed."""
    seeds = [corpus.subject_identity("disfa", "SN001", seed).texture_seed for seed in (0, 1)]
    assert corpus.recordings("disfa", 27)[0].identity.texture_seed == seeds[0] != seeds[1]


def test_corpora_look_different() -> None:
    """The stand-in for DISFA is darker than that for BP4D, which makes cross-corpus evaluation hard."""
    bp4d, _, present = corpus.random_faces("synthetic_bp4d", 8)
    disfa, landmarks, _ = corpus.random_faces("synthetic_disfa", 8)
    assert bp4d.mean() > disfa.mean() + 25
    assert present.shape == (8, 12) and present.dtype == np.int8
    assert landmarks.shape == (8, 68, 2)


def test_round_trip(tmp_path: pathlib.Path) -> None:
    """The corpus read back is the planned one, fold by fold; prepared again, nothing is rendered."""
    builder = prepare_synthetic("synthetic_disfa", tmp_path, frames=30, seed=2)
    planned = corpus.recordings("synthetic_disfa", 30, seed=2)
    faces = open_corpus("synthetic_disfa", tmp_path, "fold_0+fold_1+fold_2")
    assert faces.aus == aus.CORPUS_AUS["disfa"] and len(faces) == 30
    fold_1 = open_directory(builder.data_dir, "fold_1")
    assert {fold_1[k]["subject"] for k in range(len(fold_1))} == set(folds.FOLDS["disfa"][1])
    rendered, face = planned[0].render(0), faces[0]
    assert face["subject"] == planned[0].subject and face["sequence"] == "left" and face["frame"] == 1
    np.testing.assert_array_equal(face["landmarks"], rendered.landmarks)
    np.testing.assert_array_equal(face["intensities"], planned[0].intensities[0])
    np.testing.assert_array_equal(face["labels"], corpus.labels(planned[0].intensities[0]))
    blocks = (face["image"].astype(float) - rendered.image).reshape(32, 8, 32, 8, 3).mean((1, 3))
    assert np.abs(blocks).max() < 8  # JPEG loses some of the sensor's colour noise, nothing larger
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.array_record*")}
    prepare_synthetic("synthetic_disfa", tmp_path, frames=30, seed=2)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.array_record*")} == before


def test_another_setting_is_another_folder(tmp_path: pathlib.Path) -> None:
    """Nothing prepared with other settings is reused; the name must then tell the configuration."""
    for seed in (0, 1):
        prepare_synthetic("synthetic_disfa", tmp_path, frames=3, seed=seed)
    with pytest.raises(ValueError, match="prepared more than once.*frames3_seed0.*frames3_seed1"):
        find_corpus("synthetic_disfa", tmp_path)
    name = f"synthetic_disfa/{make_config(3, 1).name}"
    assert len(open_corpus(name, tmp_path, ["fold_0", "fold_1", "fold_2"])) == 3


def test_name_depends_on_frames_seed_rates_and_recipe_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is the same for any code of one recipe, and another one where one of the four differs."""
    monkeypatch.setattr(corpus, "RECIPE", 1)
    names = [make_config(3, 1).name, make_config(3, 1, {1: 0.5, 4: 0.25}).name]
    assert names == ["frames3_seed1_512866e991", "frames3_seed1_9d5efa46c8"]
    assert make_config(3, 1, {4: 0.25, 1: 0.5}).name == names[1]
    monkeypatch.setattr(corpus, "RECIPE", 2)
    names += [make_config(3, 1).name, make_config(3, 2).name, make_config(4, 1).name, make_config(3, 1, {1: 0.5}).name]
    assert len(set(names)) == 6


def _prepare_forever(folder: str) -> None:
    prepare_synthetic("synthetic_disfa", folder, frames=20000)


def test_killed_preparation_recovers(tmp_path: pathlib.Path) -> None:
    """A run that is killed leaves nothing that opens, and the next one removes it."""
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
    folder = next(tmp_path.rglob("incomplete.*")).parent
    folder.rename(folder.parent / make_config(3).name)  # as if the killed run had been for three frames
    prepare_synthetic("synthetic_disfa", tmp_path, frames=3)
    assert not list(tmp_path.rglob("incomplete.*"))
    assert len(open_corpus("synthetic_disfa", tmp_path, ("fold_0", "fold_1", "fold_2"))) == 3


def test_rendering_in_several_processes_gives_the_same_bytes() -> None:
    """The number of workers does not change the result."""
    items = corpus.recordings("synthetic_bp4d", 4)
    alone = [[jpeg for jpeg, _ in frames] for _, frames in corpus.encode_all(items)]
    together = [[jpeg for jpeg, _ in frames] for _, frames in corpus.encode_all(items, workers=2)]
    assert alone == together


def test_wrong_input_is_named(tmp_path: pathlib.Path) -> None:
    """Errors for unknown corpora, AUs, splits and counts tell what was expected."""
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
