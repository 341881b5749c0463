"""Decision thresholds: fitted, written, read, refused."""

import json

import numpy as np
import pytest
import sklearn.metrics as sk

from fgnet_jax.metrics import thresholds


def test_the_highest_f1_is_found():
    """No other threshold, at the scores or between them, is better by scikit-learn; unknown labels are ignored."""
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=(300, 3)), 1)
    labels = (scores + rng.normal(size=scores.shape) > [0.3, -0.5, 1.0]).astype(np.int8)
    labels[rng.random(labels.shape) < 0.2] = -1
    fitted = thresholds.fit(scores, labels)
    for k in range(3):
        known = labels[:, k] >= 0
        truth, ranks = labels[known, k], scores[known, k]
        f1 = {t: sk.f1_score(truth, ranks > t, zero_division=0) for t in np.arange(-4, 4, 0.05)}  # pyright: ignore
        reached = sk.f1_score(truth, ranks > fitted[k])
        assert reached == pytest.approx(max(f1.values()))
        assert reached > sk.f1_score(truth, ranks > 0) or fitted[k] == 0


def test_an_au_that_cannot_be_fitted_has_the_published_threshold():
    """Never present, always present, without labels; and of equally good ones the nearest to 0."""
    labels = np.array([[0, 1, -1, 0], [0, 1, -1, 1]], np.int8)
    scores = np.array([[0.1, 0.2, 0.3, -0.5], [0.2, 0.4, 0.5, 0.9]])
    np.testing.assert_array_equal(thresholds.fit(scores, labels), np.zeros(4))


def test_a_file_is_read_by_aus(tmp_path):
    """In any order of AUs; the file also has its metadata."""
    metadata = {"fitted_on": {"subjects": ["F001"]}}
    thresholds.save(tmp_path / "t.json", aus=(1, 12), values=[0.1, -0.2], metadata=metadata)
    np.testing.assert_array_equal(thresholds.load(tmp_path / "t.json", (12, 1)), [-0.2, 0.1])
    assert json.loads((tmp_path / "t.json").read_text())["fitted_on"] == {"subjects": ["F001"]}


def test_a_file_names_the_subjects_that_it_was_fitted_on(tmp_path):
    """Read both forms of the record, and none."""
    thresholds.save(tmp_path / "t.json", aus=(1,), values=[0.1], metadata={"fitted_on": {"bp4d": ["F001"]}})
    assert thresholds.read(tmp_path / "t.json").fitted_on == {"bp4d": ["F001"]}
    thresholds.save(tmp_path / "t.json", aus=(1,), values=[0.1], metadata={"fitted_on": {"subjects": ["F001"]}})
    assert thresholds.read(tmp_path / "t.json").fitted_on == {"": ["F001"]}
    thresholds.save(tmp_path / "t.json", aus=(1,), values=[0.1], metadata={})
    assert thresholds.read(tmp_path / "t.json").fitted_on == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"thresholds": {"AU01": 0.1}}', r"no threshold for AU12; it has AU01"),
        ('{"thresholds": {"AU01": 0.1, "AU12": NaN}}', "AU12 is not finite"),
        ('{"AU01": 0.1}', "expected JSON like"),
        ("[]", "expected JSON like"),
        (None, "cannot read thresholds: No such file"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    """With what was expected."""
    if text:
        (tmp_path / "t.json").write_text(text)
    with pytest.raises(thresholds.ThresholdsError, match=message):
        thresholds.load(tmp_path / "t.json", (1, 12))
