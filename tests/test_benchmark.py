"""`fgnet-jax benchmark`: figures of a student and of an FG-Net that agree with each other."""

import json

import numpy as np
import pytest

from fgnet_jax import aus, benchmark
from fgnet_jax.benchmark import Pace
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY, TINY_STUDENT, NetworkConfig, StudentConfig

AUS = aus.CORPUS_AUS["disfa"]
NONE = ["--seconds", "0"]  # five calls


def saved(folder, config: NetworkConfig) -> str:
    """Write weights, and return their folder."""
    weights.save(folder, config, fgnet.init(config), weights.WeightsMeta(aus=AUS, corpus="disfa"))
    return str(folder)


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """Return a weights directory of a tiny student."""
    return saved(tmp_path_factory.mktemp("student") / "weights", TINY_STUDENT)


def test_a_pace_is_of_its_calls():
    """Faces a second times the mean latency are the faces of a call; the percentile needs a hundred calls."""
    pace = Pace(batch_size=8, first=3.0, seconds=(0.1, 0.2, 0.6))
    assert pace.faces_per_second == pytest.approx(8 / 0.3) and pace.median == 0.2 and pace.percentile_99 is None
    slow = Pace(batch_size=1, first=3.0, seconds=(*[0.1] * 97, 5.0, 5.0, 5.0))
    assert slow.median == 0.1 and slow.percentile_99 == 5.0


def test_a_student_one_at_a_time_and_in_batches(student, tmp_path, capsys):
    """Printed, and as JSON: the same network, the same calls."""
    assert benchmark.main([student, "--batch_size", "3", "--json", str(tmp_path / "new/pace.json"), *NONE]) == 0
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "new/pace.json").read_text())
    assert result["network"] == "student" and result["aus"] == list(AUS) and result["dtype"] == "float32"
    assert result["parameters"] == sum(np.prod(a.shape) for a in fgnet.abstract(TINY_STUDENT).params.values())
    one, batch = result["paces"]
    assert (one["batch_size"], batch["batch_size"]) == (1, 3)
    for pace in (one, batch):
        assert pace["calls"] == benchmark.MIN_CALLS and pace["latency_99th_percentile"] is None
        assert pace["batch_size"] / pace["faces_per_second"] <= pace["latency_longest"]
        assert 0 < pace["latency_median"] <= pace["latency_longest"]
        assert f"{pace['faces_per_second']:.4g} faces/s" in printed
    assert result["memory"]["process"] > 50e6
    assert result["machine"]["processor"] in printed and result["machine"]["cores"] >= 1
    assert f"{student}: student, 8 AUs, faces of 32, heatmaps of 8" in printed


def test_an_fgnet(tmp_path, capsys):
    """One measurement where the device's default is one face at a time."""
    assert benchmark.main([saved(tmp_path / "tiny", TINY), *NONE]) == 0
    printed = capsys.readouterr().out
    assert "FG-Net, 8 AUs, faces of 64, heatmaps of 16" in printed
    assert printed.count("one face at a time") == 1


def test_operations_are_those_of_the_compiler():
    """Of the default student, whose program has no loop that the compiler would count once: within a tenth."""
    assert benchmark.gflop(StudentConfig(), 12) == pytest.approx(0.37, rel=0.1)


def test_what_cannot_be_measured_is_one_line(student, tmp_path, capsys):
    """Missing weights, and flags out of their range."""
    assert benchmark.main([str(tmp_path / "absent"), *NONE]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("fgnet_jax.benchmark: error: ") and "absent: no such weights directory" in last
    for flag, value, reason in (("--seconds", "-1", "at least 0"), ("--batch_size", "0", "at least 1")):
        with pytest.raises(SystemExit) as exit_:
            benchmark.main([student, flag, value])
        assert exit_.value.code == 2 and reason in capsys.readouterr().err


def test_json_that_cannot_be_written_is_one_line(student, tmp_path, capsys):
    """After the figures were printed: they are not lost."""
    (tmp_path / "file").touch()
    assert benchmark.main([student, "--json", str(tmp_path / "file/pace.json"), *NONE]) == 1
    output = capsys.readouterr()
    assert "faces/s" in output.out and "cannot write" in output.err.splitlines()[-1]


def test_another_number_format_and_a_busy_machine_are_mentioned(student, capsys, monkeypatch):
    """Figures beside other work are not those of the machine."""
    monkeypatch.setattr("os.getloadavg", lambda: (99.0, 99.0, 99.0))
    assert benchmark.main([student, "--dtype", "bfloat16", *NONE]) == 0
    output = capsys.readouterr()
    assert "load 99.0 on" in output.err and "; bfloat16\n" in output.out
