"""Detection ahead of tracking: the same faces, found while others are tracked."""

import os
import sys
import threading
from typing import Any

import numpy as np
import pytest

from fgnet_jax.faces import look_ahead
from fgnet_jax.faces.look_ahead import LookAhead
from fgnet_jax.media.frames import Frame
from fgnet_jax.media.sources import Source

LIMIT = 30.0  # seconds: for threads that would never come


def _frames(kind, count, damaged=()):
    source = Source(kind, kind)
    for k in range(count):
        image = None if k in damaged else np.full((4, 4, 3), k, np.uint8)
        yield Frame(source, 0, k + 1, k / 10, image)


def _image(frame: Frame) -> np.ndarray:
    assert frame.image is not None
    return frame.image


class Detector:
    """Remembers in which images faces were detected, and on which threads."""

    def __init__(self):
        self.calls = {}
        self.called = threading.Condition()

    def __call__(self, image) -> Any:
        """Return the image's number in place of faces."""
        with self.called:
            self.calls[int(image[0, 0, 0])] = threading.current_thread().name
            self.called.notify_all()
        return [int(image[0, 0, 0])]

    def wait_for(self, number):
        """Wait until an image's faces are detected."""
        with self.called:
            return self.called.wait_for(lambda: number in self.calls, LIMIT)


def test_the_next_detection_begins_while_faces_are_tracked():
    """With frame 11 on another thread when frame 2 is done; its result is there when frame 11 comes."""
    detect, numbers = Detector(), []
    ahead = LookAhead(_frames("video", 25), 10, detect)
    for k, frame in enumerate(ahead.frames()):
        if k % 10 == 0:
            assert ahead.detect(_image(frame)) == [k]
        ahead.expect(k % 10)
        if k == 1:
            assert detect.wait_for(10)
        numbers.append(frame.number)
    assert numbers == list(range(1, 26))
    assert sorted(detect.calls) == [0, 10, 20]
    assert [detect.calls[k].startswith("fgnet_jax detect ahead") for k in (0, 10, 20)] == [False, True, True]


def test_damaged_frames_are_not_counted():
    """The tracker does not see them."""
    detect = Detector()
    ahead = LookAhead(_frames("video", 12, damaged=(3, 4)), 5, detect)
    since = -1
    for frame in ahead.frames():
        if frame.image is None:
            continue
        since += 1
        if since % 5 == 0:
            ahead.detect(_image(frame))
        ahead.expect(since % 5)
    assert sorted(detect.calls) == [0, 7]


def test_a_detection_before_its_time_begins_at_once():
    """Where a face is lost; nothing is detected ahead right after that, for it may be lost again."""
    detect = Detector()
    ahead = LookAhead(_frames("video", 8), 10, detect)
    for k, frame in enumerate(ahead.frames()):
        assert ahead.detect(_image(frame)) == [k]
        ahead.expect(0)
    assert sorted(detect.calls) == list(range(8))
    assert not any(name.startswith("fgnet_jax detect ahead") for name in detect.calls.values())


@pytest.mark.parametrize("kind", ["webcam", "array"])
def test_cameras_and_images_are_not_read_ahead(kind):
    """A camera's next frame is not there yet, and whoever gives images may have none before the last has a result."""
    read = []
    ahead = LookAhead((read.append(frame) or frame for frame in _frames(kind, 4)), 1, Detector())
    for k, _ in enumerate(ahead.frames()):
        ahead.expect(0)
        assert len(read) == k + 1


def test_large_frames_do_not_pile_up(monkeypatch):
    """As many wait as fit into the memory that is set apart, or one."""
    monkeypatch.setattr(look_ahead, "_MOST_BYTES", 4 * 4 * 3 * 2)
    read = []
    ahead = LookAhead((read.append(frame) or frame for frame in _frames("video", 9)), 10, Detector())
    for k, _ in enumerate(ahead.frames()):
        ahead.expect(0)
        assert len(read) <= k + 1 + 2


def test_a_detectors_error_is_raised_where_the_result_is_needed():
    """As without looking ahead."""

    def detect(image):
        if image[0, 0, 0] == 2:
            raise ValueError("no memory")
        return []

    ahead = LookAhead(_frames("video", 5), 2, detect)
    with pytest.raises(ValueError, match="no memory"):
        for k, frame in enumerate(ahead.frames()):
            if k % 2 == 0:
                ahead.detect(_image(frame))
            ahead.expect(k % 2)
    assert k == 2


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priorities of their own")
def test_detection_ahead_gives_way_to_tracking():
    """Its threads have a lower priority; the caller's, which detects where nothing was found ahead, keeps its own."""
    own, priorities = os.getpriority(os.PRIO_PROCESS, 0), {}

    def detect(image):
        priorities[int(image[0, 0, 0])] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return []

    ahead = LookAhead(_frames("video", 12), 10, detect)
    for k, frame in enumerate(ahead.frames()):
        if k % 10 == 0:
            ahead.detect(_image(frame))
        ahead.expect(k % 10)
    assert priorities[0] == own < priorities[10] and os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
