"""The most confident mistakes: which are found, and that their faces and heatmaps are drawn."""

import numpy as np
from PIL import Image

from fgnet_jax.evaluate import mistakes
from fgnet_jax.evaluate.frame_predictions import FramePredictions


def _predictions() -> FramePredictions:
    """Six frames of three subjects and two AUs; the second AU is always right."""
    labels = np.array([[0, 1], [0, 1], [0, 0], [1, 0], [1, -1], [-1, 0]], np.int8)
    scores = np.array([[0.2, 0.3], [0.5, 0.3], [0.1, -0.1], [-0.4, -0.2], [0.6, 0.9], [0.9, -0.3]], np.float32)
    subjects = np.array(["a", "a", "b", "c", "c", "c"])
    return FramePredictions(
        aus=(1, 12),
        splits=np.full(6, "fold_0"),
        subjects=subjects,
        sequences=np.full(6, "T1"),
        frames=np.arange(1, 7),
        labels=labels,
        scores=scores,
        thresholds=np.zeros((6, 2)),
    )


def test_the_surest_of_each_subject():
    """Find false alarms before misses, surest first, one per subject; unknown labels are no mistakes."""
    found = [(m.frame, m.au, m.present) for m in mistakes.find(_predictions())]
    assert found == [(1, 0, False), (2, 0, False), (3, 0, True)]
    assert [m.frame for m in mistakes.find(_predictions(), count=1)] == [1, 3]


def test_thresholds_decide_what_is_wrong():
    """Check that there is no false alarm above 0.55, and that more is missed."""
    found = [(m.frame, m.present) for m in mistakes.find(_predictions().at([0.55, 0.0]))]
    assert found == [(3, True)]
    margins = [m.margin for m in mistakes.find(_predictions().at([0.55, 0.0]))]
    np.testing.assert_allclose(margins, [0.95], rtol=1e-6)


def test_a_sheet_shows_face_and_heatmap(tmp_path):
    """Draw the face in colour, and red over grey where the AU was predicted; load the shown frames alone."""
    loaded = []

    def load_faces(rows):
        loaded.append(rows)
        faces = np.full((len(rows), 32, 32, 3), (0, 200, 0), np.uint8)
        return faces, np.ones((len(rows), 8, 8, 2), np.float32)

    predictions = _predictions()
    found, path = mistakes.find(predictions), tmp_path / "sheet.png"
    mistakes.draw(predictions, found, load_faces=load_faces, path=path, title="Title")
    assert loaded == [[1, 2, 3]]
    with Image.open(tmp_path / "sheet.png") as image:
        sheet = np.asarray(image).astype(int)
    y, x = mistakes._HEAD + mistakes._TILE // 2, mistakes._left(0, False) + mistakes._TILE // 2
    assert sheet[y, x].tolist() == [0, 200, 0]
    red, green, _ = sheet[y, x + mistakes._TILE + mistakes._GAP]
    assert red > green + 80


def test_a_sheet_without_mistakes(tmp_path):
    """Write "none", and load nothing."""

    def load_faces(rows):
        raise AssertionError(f"loaded {rows}")

    mistakes.draw(_predictions(), [], load_faces=load_faces, path=tmp_path / "sheet.png", title="Title")
    assert (tmp_path / "sheet.png").exists()
