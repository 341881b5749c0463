"""Intensities in a run: what is said before it starts, what weights record, what results.json has."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from fgnet_jax.data.corpus import Corpus
from fgnet_jax.metrics import calibration
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.train import intensity
from fgnet_jax.train.defaults import ConfigError
from fgnet_jax.train.evaluator import ScoredFaces
from fgnet_jax.train.splits import FaceSubset
from tests.train import tiny

CODED = [[0, 3], [2, 0], [5, 1], [1, 4]]
PRESENCE = [[-1, -1]] * 4


def _faces(intensities: Sequence[Sequence[float]], name: str = "disfa", labels=None) -> FaceSubset:
    """Return faces of AUs 1 and 12, each of another subject, with these intensities."""
    coded = np.array(intensities, np.float32)
    present = (coded >= 2).astype(np.int8) if labels is None else np.array(labels, np.int8)
    records = [
        {"subject": f"SN00{k}".encode(), "sequence": b"left", "frame": 1, "labels": label, "intensities": code}
        for k, (label, code) in enumerate(zip(present, coded, strict=True))
    ]
    return FaceSubset(name, Corpus(name, (1, 12), ("fold_0",), (records,)), np.arange(len(records)))


def _remarks(train, select=None, **changes):
    config = tiny.config(**{"data.target": "intensity", "train.select_on": "held_out"} | changes)
    data = tiny.run_data(train, _faces(CODED), select=select or _faces(CODED, "held-out subjects"))
    return list(intensity.remarks(config, data))


def test_nothing_is_said_where_all_is_coded():
    """Nor of targets of presence, whatever the corpus codes."""
    assert _remarks(_faces(CODED)) == []
    assert _remarks(_faces(PRESENCE, labels=[[0, 1]] * 4), **{"data.target": "presence"}) == []


def test_presence_without_an_intensity_is_said():
    """By AU and share: such labels are trained at fixed heights."""
    partly = [[0, -1], [2, -1], [-1, -1], [1, -1]]
    lines = _remarks(_faces(partly, labels=[[0, 1], [1, 0], [1, 1], [0, -1]]))
    assert lines == [
        f"{labels} of the labels have no intensity, only presence: their targets have the height of intensity 3 where "
        "present, of 0 where absent"
        for labels in ("AU12: 100 %", "AU01: 25 %")
    ]


def test_an_au_that_cannot_be_calibrated_is_said():
    """Its held-out subjects show it at one intensity alone."""
    (line,) = _remarks(_faces(CODED), _faces([[0, 1], [3, 1]], "held-out subjects"))
    assert line.startswith("AU12: held-out subjects have no different intensities, so scores are not calibrated")


def test_intensities_that_are_present_here_and_absent_there_are_said():
    """Of joined corpora with different thresholds of presence, each intensity means two things."""
    mixed = _faces([[0, 3], [2, 0], [2, 1], [1, 4]], "held-out subjects", labels=[[0, 1], [1, 0], [0, 0], [1, 1]])
    (line,) = _remarks(_faces(CODED), mixed)
    assert line.startswith("held-out subjects: intensity 1 counts as present on some faces, and 2 as absent on others")


def test_a_corpus_of_presence_is_refused():
    """There is nothing to learn intensities from, or to calibrate on."""
    with pytest.raises(ConfigError, match="disfa has no coded intensities, only presence; train on presence"):
        _remarks(_faces(PRESENCE, labels=[[0, 1]] * 4))
    with pytest.raises(ConfigError, match=r"held-out subjects show no AU at different intensities.*data\.held_out"):
        _remarks(_faces(CODED), _faces([[0, 1], [0, 1]], "held-out subjects"))


def _scored(faces: FaceSubset, order=None) -> ScoredFaces:
    """Return scores that follow intensities of the AUs 12 and 1, in this order of channels."""
    indices = np.array(order if order is not None else faces.indices)
    coded = intensity.coded(faces.corpus, indices, (12, 1))
    return ScoredFaces(
        scores=(coded / 20 - 0.09).astype(np.float32), labels=(coded >= 2).astype(np.int8), indices=indices
    )


def test_weights_record_the_calibration_of_the_held_out_subjects():
    """AU by AU, whatever the order of channels and faces; with the subjects. Weights of presence record nothing."""
    faces = _faces(CODED)
    config = tiny.config(**{"data.target": "intensity"})
    stored = intensity.metadata(config, faces, _scored(faces, [2, 0, 3, 1]), (12, 1))
    fitted = calibration.of_weights(stored, (12, 1))
    assert fitted is not None
    assert fitted.fitted_on == {"disfa": ["SN000", "SN001", "SN002", "SN003"]}
    np.testing.assert_allclose(fitted.intensities(_scored(faces).scores, (12, 1)), np.array(CODED)[:, ::-1], atol=1e-5)
    assert intensity.metadata(tiny.config(), faces, _scored(faces), (12, 1)) == {}


def test_results_have_the_agreement_where_weights_and_corpus_know_intensities():
    """A perfect calibration agrees perfectly; an AU that shows one intensity has no ICC, and is None."""
    config = tiny.config(**{"data.target": "intensity"})
    faces = _faces(CODED)
    meta = WeightsMeta(aus=(12, 1), extra=intensity.metadata(config, faces, _scored(faces), (12, 1)))
    perfect = intensity.results(intensity.measure(meta, faces, _scored(faces)))["intensity"]
    assert perfect["mean"]["icc"] == pytest.approx(1)
    assert perfect["aus"]["AU12"]["mae"] == pytest.approx(0, abs=1e-5)
    alike = _faces([[2, 0], [2, 4]])
    results = intensity.results(intensity.measure(meta, alike, _scored(alike)))["intensity"]
    assert results["aus"]["AU01"] == {"icc": None, "mae": pytest.approx(0, abs=1e-5), "pearson": None}
    assert results["mean"]["icc"] == pytest.approx(1)
    measured = intensity.measure(meta, alike, _scored(alike))
    assert measured is not None
    assert "disfa, ICC(3,1)" in intensity.table([("disfa", measured)])
    unknown = _faces(PRESENCE, labels=[[0, 1]] * 4)
    assert intensity.measure(meta, unknown, dataclasses.replace(_scored(faces))) is None
    assert intensity.measure(WeightsMeta(aus=(12, 1)), faces, _scored(faces)) is None
    assert intensity.results(None) == {}
