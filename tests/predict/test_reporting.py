"""Messages of a run: figures that mean something, or none; problems whether or not it is quiet."""

import argparse

import numpy as np
import pytest

from fgnet_jax.faces.finder import DetectedFrame
from fgnet_jax.media.frames import Frame
from fgnet_jax.media.sources import Source
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.outputs import OutputOptions
from fgnet_jax.predict.pipeline import FrameResult, PredictOptions
from fgnet_jax.predict.reporting import RunReporter
from fgnet_jax.predict.request import PredictionRequest
from fgnet_jax.runtime import progress

SOURCES = [Source(f"{k}.png", "image", f"{k}.png") for k in range(40)]


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves: a list of one time."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def reporter(*, quiet=False):
    """A reporter of a run of 40 images."""
    request = PredictionRequest(argparse.Namespace(quiet=quiet), SOURCES, PredictOptions(), OutputOptions("-"))
    return RunReporter(request, ResumePoint(), None)


def frame(k, problem=None):
    """The frame of an image."""
    return Frame(source=SOURCES[k], index=k, number=1, seconds=None, image=None, problem=problem, total=1)


def write(to, k, problem=None):
    """Report an image, with one face unless there is a problem."""
    detected = DetectedFrame(frame(k, problem), (), problem)
    to.report_problem(FrameResult(detected, np.zeros((0, 8), np.float32), None))
    to.add(detected.frame, 0 if problem else 1)


def test_two_images_at_once_have_no_pace(clock, capsys):
    """They are one batch: 750 images a second would be the pace of writing rows."""
    with reporter() as run:
        clock[0] += 2
        for k in range(2):
            clock[0] += 0.001
            write(run, k)
    assert capsys.readouterr().err == "fgnet_jax.predict: 2 of 2 images succeeded in 2.0 s after loading\n"


def test_the_pace_is_that_of_whole_batches(clock, capsys):
    """Five batches of 8 in 2 s each, all of a batch at once: 4 a second, not 39 in 8 s."""
    with reporter() as run:
        for batch in range(5):
            clock[0] += 2
            for k in range(8):
                write(run, 8 * batch + k)
    assert capsys.readouterr().err.splitlines()[-1] == "fgnet_jax.predict: steady state: 4.00 images a second"


def test_an_error_has_no_summary_before_it(clock, capsys):
    """'0 of 0 images' would hide it."""
    with pytest.raises(OSError), reporter():
        raise OSError("the real error")
    assert capsys.readouterr().err == ""


def test_a_quiet_run_reports_problems_alone(clock, capsys):
    """Why an image has no row; neither progress nor a summary."""
    with reporter(quiet=True) as run:
        for k in range(40):
            clock[0] += 5
            write(run, k, "not an image" if k == 3 else None)
    assert capsys.readouterr().err == "fgnet_jax.predict: 3.png: not an image\n"
