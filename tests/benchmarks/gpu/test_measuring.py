"""Timing of single runs and of bursts, with a clock that a test moves."""

import pytest

from benchmarks.gpu import measuring


def test_bursts_follow_each_other_without_a_pause(monkeypatch):
    """A run alone takes 5 s, among others 3: starting takes 3, and the last one's end comes 2 s later."""
    now, starts = [0.0], []
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])

    def start():
        now[0] += 3
        starts.append(now[0])
        return len(starts)

    def wait(result):
        assert result == len(starts)  # the last that was started
        now[0] += 2

    result = measuring.timings(start, wait, batch=4, rounds=3, burst_seconds=50)
    assert result["alone"] == 5 and result["seconds"] == pytest.approx(3.2)
    assert result["images_a_second"] == pytest.approx(4 / 3.2) and result["slowest_to_fastest"] == 1
    assert result["runs"] == 30 and len(starts) == 1 + 3 + 30


def test_a_loss_that_is_not_finite_is_a_problem():
    """It is named, and JSON has no NaN."""
    assert measuring.first_loss(0.5) == {"loss": 0.5}
    assert measuring.first_loss(float("nan")) == {"problem": "the first loss is nan: expected a finite one"}
