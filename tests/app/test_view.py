"""Content of the page for a video: the faces of the table, with the table's numbers."""

import numpy as np
import pytest
from PIL import Image

import fgnet_jax
from fgnet_jax import aus
from fgnet_jax.app import view as view_lib
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.predict import pipeline
from tests.end_to_end.predicting import astronaut
from tests.miniature import write_video


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """Return a tiny network."""
    path = tmp_path_factory.mktemp("weights") / "tiny"
    meta = weights.WeightsMeta(model={}, aus=aus.CORPUS_AUS["disfa"], corpus="disfa")
    weights.save(path, TINY, fgnet.init(TINY), meta)
    return fgnet_jax.Detector.load(path)


@pytest.fixture(scope="module")
def view(detector, tmp_path_factory):
    """Return the view of a video: a small face for ten frames, then, after a cut, a large one beside it."""
    large = Image.fromarray(astronaut()).crop((120, 0, 360, 240))
    canvas = np.full((240, 400, 3), 90, np.uint8)
    canvas[60:200, :140] = np.asarray(large.resize((140, 140)))
    both = canvas.copy()
    both[:, 160:] = np.asarray(large)
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, [canvas] * 10 + [both] * 4, "libx264")
    return view_lib.predict_file(detector, str(path), pipeline.PredictOptions(), lambda number, total: None)


def ids(view):
    """Return the numbers of the faces that are shown."""
    return [view.shown.rows[row].face_id for row in view.faces]


def test_a_later_frame_shows_the_faces_of_the_table(detector, view):
    """Keep the table's numbers after a cut: detected alone, that frame's faces would begin at 0 with the largest."""
    assert view.frame == 1 and ids(view) == [0]
    later = view_lib.show_frame(detector, view, 13)
    rows = [row for row in view.table.rows if row.frame == 13]
    assert ids(later) == [row.face_id for row in rows] and len(rows) == 2 and 0 not in ids(later)
    assert later.shown is not None
    assert [row.box for row in later.shown.rows] == [row.box for row in rows]
    np.testing.assert_allclose(later.shown.scores, [row.scores for row in rows], atol=1e-6)


def test_a_number_after_the_videos_end_is_its_last_frame(detector, view):
    """Accept any number, as the slider's box does."""
    assert view_lib.show_frame(detector, view, 99).frame == 14
