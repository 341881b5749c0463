"""The pace of this machine: measured from the times of runs of the same kind, and not known without any."""

import json
import os
import socket
from datetime import UTC, datetime

import pytest

from fgnet_jax.train import pace, workdirs
from tests.train import tiny

DEVICES = {"kind": "cpu", "platform": "cpu", "count": 1}
BEGUN = 1_754_650_000.0


def _write(workdir, config, *, steps=2.0, evaluation=30.0, pause=0.0, finished=True, **record):
    """Write a run of 3 epochs of 4 steps, begun 100 s before its first step and tested for 50 s."""
    workdir.mkdir()
    (workdir / workdirs.CONFIG).write_text(json.dumps(config.to_dict()))
    origin = {"devices": DEVICES, "hostname": socket.gethostname()} | record
    (workdir / workdirs.PROVENANCE).write_text(json.dumps(origin | {"time": _time(BEGUN)}))
    now, lines = BEGUN + 100 - steps, []
    for step in range(1, 13):
        now += steps + pause * (step == 6)
        lines.append({"step": step, "time": now, "loss": 0.1})
        if step % 4 == 0:
            now += evaluation
            lines.append({"step": step, "time": now, "mean_f1": 0.5})
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if finished:
        (workdir / workdirs.RESULTS).write_text(json.dumps({"provenance": {"time": _time(now + 50)}}))


def _time(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def test_steps_evaluations_and_ends_are_measured(tmp_path):
    """Over runs that differ in seed, fold and length; a pause of a day counts for nothing."""
    _write(tmp_path / "a", tiny.config(seed=3, **{"data.fold": 2}))
    _write(tmp_path / "b", tiny.config(**{"train.epochs": 9}), pause=86400.0)
    found = pace.of_runs(tiny.config(), tmp_path, DEVICES)
    assert found and (found.step, found.epoch, found.ends) == pytest.approx((2.0, 30.0, 150.0), abs=1)
    assert found.source == "metrics.jsonl of a, b, on 1 × cpu: 2 s a step, 30 s an evaluation"
    assert found.seconds(steps=100, evaluations=5) == pytest.approx(100 * 2 + 5 * 30 + 150, abs=1)
    assert found.disk and found.disk > 100


def test_a_file_that_is_removed_while_sizes_are_added_is_none(tmp_path, monkeypatch):
    """Another process adds epochs to a run that is finished, and removes its old checkpoints."""
    _write(tmp_path / "a", tiny.config())
    before = pace.of_runs(tiny.config(), tmp_path, DEVICES)
    (tmp_path / "a/checkpoint").write_text("x" * 1000)
    stat = os.stat

    def vanishing(path, **how):
        if str(path).endswith("checkpoint"):
            raise FileNotFoundError(path)
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", vanishing)
    after = pace.of_runs(tiny.config(), tmp_path, DEVICES)
    assert before and after and after.disk == before.disk


@pytest.mark.parametrize(
    ("changes", "record"),
    [
        ({"model.image_size": 16}, {}),
        ({"data.corpus": "synthetic_disfa"}, {}),
        ({"train.batch_size": 16}, {}),
        ({}, {"devices": {"kind": "NVIDIA H100", "platform": "gpu", "count": 1}}),
        ({}, {"hostname": "another"}),
    ],
)
def test_runs_of_another_kind_say_nothing(tmp_path, changes, record):
    """Of another network, corpus or batch, or on another machine: it is not known."""
    _write(tmp_path / "a", tiny.config(**changes), **record)
    assert pace.of_runs(tiny.config(), tmp_path, DEVICES) is None


def test_gpus_of_a_kind_have_one_pace_on_whatever_machine(tmp_path):
    """A cluster's nodes have other names and the same cards."""
    gpu = {"kind": "NVIDIA H100", "platform": "gpu", "count": 1}
    _write(tmp_path / "a", tiny.config(), devices=gpu, hostname="node7")
    assert pace.of_runs(tiny.config(), tmp_path, gpu) is not None


def test_a_run_that_has_just_begun_measures_no_evaluation(tmp_path):
    """So how long a whole run takes is not known yet."""
    _write(tmp_path / "a", tiny.config(), finished=False)
    lines = (tmp_path / "a/metrics.jsonl").read_text().splitlines()
    (tmp_path / "a/metrics.jsonl").write_text("\n".join([*lines[:4], *lines[5:6]]) + "\n")
    assert pace.of_runs(tiny.config(), tmp_path, DEVICES) is None, "too few steps"
    renumbered = [json.dumps({"step": k, "time": BEGUN + 2 * k, "loss": 0.1}) for k in range(1, 8)]
    (tmp_path / "a/metrics.jsonl").write_text("\n".join(renumbered) + "\n")
    found = pace.of_runs(tiny.config(), tmp_path, DEVICES)
    assert found and found.step == 2.0 and found.disk is None
    assert found.seconds(steps=10, evaluations=1) is None and found.seconds(steps=10, evaluations=0) == 20.0
