"""Content of the page for a video: the faces of the table, with the table's numbers."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.app import timeline
from fgnet_jax.app import view as view_lib
from fgnet_jax.predict.pipeline import PredictOptions
from tests.app.conftest import analysed
from tests.end_to_end.predicting import astronaut
from tests.miniature import write_video


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
    return analysed(detector, path, tmp_path_factory.mktemp("results"))


def ids(view):
    """Return the numbers of the faces that are shown."""
    return [row.face_id for row in view.shown.rows]


def test_a_later_frame_shows_the_faces_of_the_table(detector, view):
    """Show the same faces with the same scores: detected alone, that frame's faces might be others."""
    assert view.shown.number == 1 and ids(view) == [0]
    later = view_lib.show_frame(detector, view, 13)
    rows = [row for row in view.rows if row.frame == 13]
    assert ids(later) == [row.face_id for row in rows] and len(rows) == 2
    assert list(later.shown.rows) == rows and later.shown.heatmaps is not None
    again = [float(maps.mean()) for maps in np.moveaxis(later.shown.heatmaps[0], -1, 0)]
    np.testing.assert_allclose(again, rows[0].scores, atol=1e-5)


def test_a_number_after_the_videos_end_is_its_last_frame(detector, view):
    """Accept any number."""
    assert view_lib.show_frame(detector, view, 99).shown.number == 14


def test_a_click_on_a_face_finds_it(detector, view):
    """Take the place in pixels of the drawing, which is larger than the frame; none outside of all faces."""
    later = view_lib.show_frame(detector, view, 13)
    drawn = view_lib.draw(later)
    assert drawn is not None
    scale = drawn.width / 400
    for row in later.shown.rows:
        assert row.box is not None
        left, top, width, height = row.box
        assert view_lib.face_at(later, (left + width / 2) * scale, (top + height / 2) * scale) == row.face_id
    assert view_lib.face_at(later, 5, 5) is None


def test_the_time_line_shows_where_a_face_is(view):
    """Draw no score where the face is not, and mark the frame."""
    large = next(row.face_id for row in view.rows if row.frame == 14 and row.box[0] > 160)
    scores, present = timeline.columns_of(view, large)
    assert np.isnan(scores[:10]).all() and np.isfinite(scores[10:]).all() and not present[:10].any()
    row = next(row for row in view.rows if row.frame == 14 and row.face_id == large)
    np.testing.assert_array_equal(scores[13], row.scores)
    assert "left:3.571%" in timeline.draw(view, None, None), "half a frame of fourteen"


def test_a_sample_of_a_video_has_the_videos_number_of_frames(detector, clips, tmp_path):
    """Not the number of its last frame that was analysed."""
    sample = analysed(detector, clips / "short.mp4", tmp_path, PredictOptions(every=5))
    assert sample.numbers == [1, 6, 11] and "frame 1 of 12<" in view_lib.caption(sample, None, None)
    assert view_lib.counts(sample).endswith("in 3 of 3 frames analysed")


def test_the_frame_control_reaches_the_frames_of_the_table(view):
    """Have the video's first and last frame as ends."""
    assert 'min="1" max="14" step="1" value="1"' in timeline.control(view)


def test_intensities_are_shown_where_the_weights_know_them(view):
    """Beside scores in the bars and in the caption, and as columns of the table; of no other AU."""
    first = np.where(np.arange(len(view.aus)) == 0, np.float32(3.21), np.float32(np.nan))
    rows = tuple(dataclasses.replace(row, intensities=first) for row in view.shown.rows)
    known = dataclasses.replace(view, rows=rows, shown=dataclasses.replace(view.shown, rows=rows))
    assert known.calibrated == view.aus[:1] and view.calibrated == ()
    assert view_lib.bars(known, None, None).count("3.2 (") == 1
    assert "intensity 3.2 of 5" in view_lib.caption(known, None, 0)
    assert "intensity" not in view_lib.caption(known, None, 1)
    names, cells = view_lib.table(known, 1)
    assert cells[0][names.index(f"AU{view.aus[0]:02d}_r")] == "3.210"
    assert sum(name.endswith("_r") for name in names) == 1
    assert not [name for name in view_lib.table(view, 1)[0] if name.endswith("_r")]
