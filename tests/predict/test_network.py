"""The network on its devices: one shape for the compiler, and the same as a pure function."""

import csv
import json
from pathlib import Path

import jax
import numpy as np
import pytest

import fgnet_jax
from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY, TINY_STUDENT
from fgnet_jax.predict import __main__ as predict
from fgnet_jax.predict import run_record
from fgnet_jax.runtime.sharding import Sharding
from tests import miniature

AUS = CORPUS_AUS["disfa"]
FACES = np.random.default_rng(0).integers(0, 256, (5, TINY.image_size, TINY.image_size, 3), np.uint8)
SMALL_FACES = FACES[:, : TINY_STUDENT.image_size, : TINY_STUDENT.image_size].copy()


def test_apply_is_the_same_as_a_pure_function(detector):
    """Jit it in another program, with the weights as arguments, and differentiate it."""

    @jax.jit
    def smiles(params, images):
        scores, heatmaps = fgnet_jax.apply(params, images)
        return scores[:, params.aus.index(12)], heatmaps

    expected = detector.predict(FACES)
    scores, heatmaps = smiles(detector.params, FACES)
    np.testing.assert_allclose(scores, expected.scores[:, AUS.index(12)], atol=1e-6)
    np.testing.assert_allclose(heatmaps, expected.heatmaps, atol=1e-5)
    slope = jax.grad(lambda images: smiles(detector.params, images)[0].sum())(FACES[:1].astype(np.float32))
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_any_number_of_faces_compiles_once(directory, monkeypatch):
    """Compile one shape, with heatmaps or without."""
    jax.clear_caches()  # another test may have traced the same shape
    traces = []
    apply = fgnet.apply
    monkeypatch.setattr(fgnet, "apply", lambda *args: traces.append(args) or apply(*args))
    detector = fgnet_jax.Detector.load(directory, batch_size=3)
    detector.compile()
    for count in (1, 2, 3, 4, 0, 5):
        for heatmaps in (True, False):
            assert len(detector.predict(FACES[:count], heatmaps=heatmaps).scores) == count
    assert len(traces) == 1


def test_a_batch_is_never_larger_than_stated(detector):
    """Refuse more faces in `start` than the network was compiled for."""
    with pytest.raises(ValueError, match="1 to 2 faces, got 3"):
        detector.start(FACES[:3])


def test_the_checksum_is_that_of_the_weights(directory, detector):
    """Return the checksum that the JSON beside a table records."""
    assert detector.checksum == weights.checksum(weights.load(directory)[1])


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_other_devices_get_prepared_weights(directory, detector, monkeypatch, platform):
    """Scores are the same, and so is what others read: the stored weights and their checksum."""
    monkeypatch.setattr(Sharding, "platform", property(lambda self: platform))
    other = fgnet_jax.Detector.load(directory, batch_size=2)
    prepared, _ = other._compiled
    assert isinstance(prepared, list)
    actual, expected = other.predict(FACES), detector.predict(FACES)
    np.testing.assert_allclose(actual.scores, expected.scores, atol=1e-5)
    assert actual.heatmaps is not None and expected.heatmaps is not None
    np.testing.assert_allclose(actual.heatmaps, expected.heatmaps, atol=1e-5)
    assert other.checksum == detector.checksum
    assert other.params.variables is other.variables


def test_a_batch_size_for_fewer_faces(detector):
    """Share the same weights; load nothing again."""
    single = detector.with_batch_size(1)
    assert single.batch_size == 1 and single.variables is detector.variables
    np.testing.assert_allclose(single.predict(FACES[:1]).scores, detector.predict(FACES[:1]).scores, atol=1e-6)


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Path:
    """Return a weights directory of a tiny student."""
    folder = tmp_path_factory.mktemp("student") / "weights"
    meta = weights.WeightsMeta(aus=CORPUS_AUS["bp4d"][: TINY_STUDENT.num_heatmaps])
    weights.save(folder, TINY_STUDENT, fgnet.init(TINY_STUDENT), meta)
    return folder


def test_a_student_takes_faces_of_video_files_by_four(student, detector, monkeypatch):
    """Four faces take as long as three one by one: on CPUs. FG-Net gains nothing."""
    single = fgnet_jax.Detector.load(student)
    several = single.for_video_files()
    assert (single.batch_size, several.batch_size) == (1, 4)
    np.testing.assert_allclose(several.predict(SMALL_FACES).scores, single.predict(SMALL_FACES).scores, atol=1e-6)
    assert detector.for_video_files() is detector
    monkeypatch.setattr(Sharding, "platform", property(lambda self: "gpu"))
    assert single.for_video_files() is single


def test_the_command_takes_faces_of_video_files_by_four(student, tmp_path):
    """Where no batch size is given, and not a camera's, whose frames wait for no others."""
    clip = tmp_path / "clip.avi"
    miniature.write_video(clip, [*np.repeat(SMALL_FACES, 2, 0)])

    def predicted(name: str, *words: object) -> tuple[int, list[dict[str, str]]]:
        """Return the batch size that was recorded, and the table."""
        given = ["--weights", student, "--aligned", "--csv", tmp_path / f"{name}.csv", *words]
        assert predict.main([str(word) for word in given]) == 0
        record = json.loads(run_record.path_of(tmp_path / f"{name}.csv").read_text())
        with (tmp_path / f"{name}.csv").open() as file:
            return record["batch_size"], list(csv.DictReader(file))

    size, table = predicted("file", clip)
    assert size == 4 and len(table) == 10
    assert predicted("single", "--batch_size", "1", clip) == (1, table)
    assert predicted("camera", "--webcam", clip)[0] == 1
