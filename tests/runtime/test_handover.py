"""Handing over from a thread: in turn, or the newest alone."""

import threading

import pytest

from fgnet_jax.runtime.handover import Handover

LIMIT = 30.0  # seconds: for threads that would never come


def test_the_newest_replaces_what_was_not_taken():
    """And it is counted what was dropped."""
    all_given, again = threading.Event(), threading.Event()

    def items():
        yield from (1, 2, 3)
        all_given.set()
        again.wait(LIMIT)
        yield 4

    handover = Handover(items(), "test", newest=True)
    assert all_given.wait(LIMIT)
    assert handover.take(LIMIT) == 3 and handover.dropped == 2
    again.set()
    assert list(handover) == [4] and handover.dropped == 2 and handover.is_over


def test_in_turn_nothing_is_dropped():
    """However late it is taken."""
    handover = Handover(iter(range(1, 50)), "test", newest=False)
    assert list(handover) == list(range(1, 50)) and handover.dropped == 0


def test_an_error_follows_the_last_item():
    """Once, where the items are taken."""

    def items():
        yield "frame"
        raise ValueError("the camera is gone")

    handover = Handover(items(), "test", newest=True)
    taken = []
    with pytest.raises(ValueError, match="the camera is gone"):
        for item in handover:
            taken.append(item)  # noqa: PERF402 - what came before the error
    assert taken == ["frame"] and handover.is_over


def test_nothing_within_the_time_is_none():
    """It may come later."""
    go = threading.Event()

    def items():
        go.wait(LIMIT)
        yield "late"

    handover = Handover(items(), "test", newest=True)
    assert handover.take(0.01) is None and not handover.is_over
    go.set()
    assert handover.take(LIMIT) == "late"


def test_closing_ends_the_thread_and_the_iterator_on_it():
    """Whoever waits for an item is told that none will come."""
    closed = []

    def items():
        try:
            while True:
                yield "frame"
        finally:
            closed.append(threading.current_thread().name)

    handover = Handover(items(), "test", newest=False)
    assert handover.take(LIMIT) == "frame"
    handover.close()
    assert closed == ["fgnet_jax test"] and handover.is_over and handover.take(LIMIT) is None
