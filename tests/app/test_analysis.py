"""Analysis of one file, to its end or to where it is stopped."""

import pytest

from fgnet_jax.app import analysis
from fgnet_jax.media import sources
from fgnet_jax.predict.pipeline import PredictOptions


def stopped(detector, path, folder, done: int):
    """Analyse a file, stop when a frame is done, and return the results."""
    ending = analysis.Ending()
    (source,) = sources.find([str(path)])
    counts = analysis.analyse(detector, source, PredictOptions(), folder=folder, ending=ending)
    while True:
        try:
            if next(counts).done == done:
                ending.stop.set()
        except StopIteration as end:
            return end.value


def test_a_stop_at_the_last_frame_has_stopped_nothing(detector, clips, photograph, tmp_path):
    """All frames of the video, or the image, have their results: they are not called stopped."""
    for path, count in ((clips / "short.mp4", 12), (photograph, 1)):
        folder = tmp_path / path.stem
        folder.mkdir()
        view = stopped(detector, path, folder, count)
        assert view.numbers == list(range(1, count + 1)) and not view.is_partial and not view.fault


def test_a_stop_before_it_has(detector, clips, tmp_path):
    """Frames are left out, and the file's number of frames is known."""
    view = stopped(detector, clips / "long.mp4", tmp_path, 2)
    assert view.is_partial and view.numbers[-1] < view.frame_count == 700 and "stopped" in view.fault


def test_a_stop_before_the_first_frame_gives_no_results(detector, photograph, tmp_path):
    """There is nothing to show."""
    with pytest.raises(analysis.CancelledError):
        ending = analysis.Ending()
        ending.stop.set()
        (source,) = sources.find([str(photograph)])
        next(analysis.analyse(detector, source, PredictOptions(), folder=tmp_path, ending=ending))
