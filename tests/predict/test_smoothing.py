"""Smoothing: by true times, per face, never across videos, and with no frame lost."""

import dataclasses

import numpy as np
import pytest

from fgnet_jax.predict import smoothing
from fgnet_jax.predict.smoothing import ObservedScores, Smoothing

OPTIONS = Smoothing(1.0)


def frame(seconds: float | None, score: float, video: str | None = "v", faces=(0,)):
    """Return a frame with the same score of one AU for each face."""
    return ObservedScores(
        video=video, seconds=seconds, faces=faces, scores=np.array([[score]] * len(faces), np.float32)
    )


def smoothed(frames, options=OPTIONS):
    """Return the smoothed scores of the first face."""
    return [float(scores[0, 0]) for _, scores in smoothing.smooth(frames, lambda frame: frame, options)]


def test_weights_are_a_hann_window_over_true_times():
    """Weigh a quarter of a second away by half."""
    results = smoothed([frame(0.0, 0.0), frame(0.25, 1.0), frame(0.5, 0.0), frame(5.0, 1.0)])
    np.testing.assert_allclose(results, [0.5 / 1.5, 1 / 2, 0.5 / 1.5, 1.0], rtol=1e-6)


def test_causal_uses_earlier_frames_alone_and_waits_for_none():
    """Return every frame before the next is read."""
    read = []

    def frames():
        for k in range(4):
            read.append(k)
            yield frame(k / 4, float(k == 0))

    results = []
    for _, scores in smoothing.smooth(frames(), lambda frame: frame, Smoothing(1.0, causal=True)):
        assert len(read) == len(results) + 1
        results.append(float(scores[0, 0]))
    assert results[0] == 1.0 and results == sorted(results, reverse=True) and results[-1] > 0


def test_a_constant_stays_and_a_step_is_not_delayed():
    """Have no delay with centred weights."""
    np.testing.assert_allclose(smoothed([frame(k / 30, 0.3) for k in range(40)]), 0.3, rtol=1e-6)
    step = smoothed([frame(k / 30, float(k >= 20)) for k in range(40)])
    assert step[19] < 0.5 < step[20] and step[19] + step[20] == pytest.approx(1.0, abs=1e-6)


def test_faces_videos_and_images_are_kept_apart():
    """Smooth each face by its own frames, and leave an image as it is."""
    frames = [
        frame(0.0, 0.0), frame(0.1, 1.0, faces=(1,)), frame(0.2, 0.0), frame(0.2, 1.0, "w"),
        frame(None, 0.5, None), frame(0.3, 0.25, "x"), frame(None, 0.125, "x"),
    ]  # fmt: skip
    assert smoothed(frames) == [0.0, 1.0, 0.0, 1.0, 0.5, 0.25, 0.125]


def test_frames_without_a_face_or_result_take_no_part():
    """Leave them without one."""
    empty = ObservedScores(video="v", seconds=0.1, faces=(), scores=np.zeros((0, 1), np.float32))
    frames = [frame(0.0, 1.0), empty, frame(0.2, np.nan), frame(0.3, 1.0)]
    results = [scores for _, scores in smoothing.smooth(frames, lambda frame: frame, OPTIONS)]
    assert results[0][0, 0] == results[3][0, 0] == 1.0 and len(results[1]) == 0 and np.isnan(results[2]).all()


def test_beginning_a_window_earlier_gives_the_same_bits():
    """Give the same bits, on which a resumed run relies."""
    rng = np.random.default_rng(0)
    frames = [frame(k / 25, rng.uniform(-1, 1)) for k in range(100)]
    np.testing.assert_array_equal(smoothed(frames)[50:], smoothed(frames[50 - 25 :])[25:])


def test_the_description_has_all_options():
    """Return them for the JSON."""
    scope = "scores, per face_id while it is tracked without a gap"
    assert OPTIONS.describe() == {"window": "hann", "seconds": 1.0, "causal": False, "of": scope}
    assert dataclasses.replace(OPTIONS, causal=True).describe()["causal"]
