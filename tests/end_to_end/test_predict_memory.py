"""A long video takes the memory of a short one."""

import os

import pytest

from tests.end_to_end.predicting import moving, predict  # noqa: F401
from tests.miniature import write_video

pytestmark = pytest.mark.slow  # memory of long videos

SHORT, LONG = 400, 2_500
"""Frames."""

SHARE = 1.05
"""How much more memory the long one may take, as a factor."""


def peak(predict, clip, table):  # noqa: F811
    """Return the peak resident memory of a run, in bytes."""
    process = predict.start("--csv", table, "--smooth", "--detect_every", 1000, "--batch_size", 8, clip)
    process.stdout.close()
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    assert process.returncode == 0, errors
    assert table.read_bytes().count(b"\n") > SHORT
    return usage.ru_maxrss * 1024


def test_memory_does_not_grow_with_the_video(predict, tmp_path):  # noqa: F811
    """Take at most five per cent more for six times the frames; keeping a sixth of each frame would exceed that."""
    frames = moving(48, (240, 200))
    for name, count in (("short", SHORT), ("long", LONG)):
        write_video(tmp_path / f"{name}.mp4", (frames * (count // 48 + 1))[:count], "libx264", 25)
    peak(predict, tmp_path / "short.mp4", tmp_path / "warm.csv")  # compiles, for all runs
    short = max(peak(predict, tmp_path / "short.mp4", tmp_path / f"short{k}.csv") for k in range(2))
    for k in range(2):  # runs of the same video differ by three per cent, by the timing of threads
        long = peak(predict, tmp_path / "long.mp4", tmp_path / f"long{k}.csv")
        print(f"{SHORT} frames: {short / 2**20:.0f} MiB, {LONG}: {long / 2**20:.0f} MiB")
        if long < SHARE * short:
            return
    raise AssertionError(f"{LONG} frames take {long / short:.3f} of the memory of {SHORT}, twice")
