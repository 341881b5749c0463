"""Preparation in parts: merged, they are the bytes of one run; a part that is missing, or of other data, is named."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fgnet_jax.prepare import __main__ as prepare
from fgnet_jax.prepare import sequence, sharding
from fgnet_jax.prepare.layouts import disfa
from fgnet_jax.runtime import leases
from fgnet_jax.runtime.shards import Shard
from tests.prepare.corpora import arguments, dataset_bytes, report_of


def _shard(owners, data: Path, shard: str, *more: str) -> int:
    return prepare.main(["disfa", *arguments(owners["disfa"], data, "--shard", shard, *more)])


def _merge(owners, data: Path, *folders: Path) -> int:
    return prepare.main(["disfa", *arguments(owners["disfa"], data, "--merge", *map(str, folders))])


@pytest.mark.parametrize("count", [1, 3, 9])
def test_merged_shards_are_the_bytes_of_one_run(owners, prepared, tmp_path, count, capsys):
    """In any order, also where there are more parts than sequences; nothing is left of the parts."""
    for number in reversed(range(1, count + 1)):
        assert _shard(owners, tmp_path, f"{number}/{count}") == 0
        assert not (tmp_path / "disfa/1.0.0").exists()
    assert f"shard 1/{count} of disfa is prepared: " in capsys.readouterr().err
    assert _merge(owners, tmp_path) == 0
    assert dataset_bytes(tmp_path, "disfa") == dataset_bytes(prepared, "disfa")
    assert not list((tmp_path / "disfa").glob(".work-*"))
    report, expected = report_of(tmp_path, "disfa"), report_of(prepared, "disfa")
    assert report["pace"]["frames"] == expected["pace"]["frames"] and report["pace"]["workers"] == count
    assert report | {"pace": 0} == expected | {"pace": 0}
    assert _shard(owners, tmp_path, f"1/{count}") == 0 and "is prepared already" in capsys.readouterr().err


def test_shards_of_machines_without_a_common_disk(owners, prepared, tmp_path, capsys):
    """Their folders of datasets are named; one of another source is refused."""
    for number in (1, 2):
        assert _shard(owners, tmp_path / f"host{number}", f"{number}/2") == 0
    assert _shard(owners, tmp_path / "other", "2/2", "--threshold", "3") == 0
    assert _merge(owners, tmp_path / "data", tmp_path / "host1", tmp_path / "other") == 1
    message = capsys.readouterr().err
    assert f"{tmp_path / 'other'} has no shard of this disfa: expected " in message
    assert "it has work of another source or other options: .work-" in message
    assert _merge(owners, tmp_path / "data", tmp_path / "host1") == 1
    assert "disfa is not complete: shard 2/2 is missing (" in capsys.readouterr().err
    assert _merge(owners, tmp_path / "data", tmp_path / "host1", tmp_path / "host2") == 0
    assert dataset_bytes(tmp_path / "data", "disfa") == dataset_bytes(prepared, "disfa")


def test_missing_shards_are_named(owners, tmp_path, capsys):
    """Those that were not begun, and one that has not finished; nothing is written."""
    assert _merge(owners, tmp_path) == 1
    assert "no shard of disfa is in " in capsys.readouterr().err
    assert _shard(owners, tmp_path, "2/3") == 0
    (work,) = (tmp_path / "disfa").glob(".work-*")
    corpus = disfa.read(owners["disfa"].root)
    first = sharding.sequences_of(corpus.sequences, Shard(number=2, count=3))[0].key
    for path in (work / first).glob("*.last.npz"):
        path.unlink()
    assert _merge(owners, tmp_path) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "shard 1/3 is missing (" in message and "shard 3/3 is missing (" in message
    assert f"shard 2/3 has not finished (1 of {len(list(work.glob('*/*')))} sequences, {first} among them)" in message
    assert not (tmp_path / "disfa/1.0.0").exists()


def test_other_options_have_other_shards(owners, tmp_path, capsys):
    """The work of a threshold of 3 is no part of a dataset with one of 2."""
    assert _shard(owners, tmp_path, "1/1", "--threshold", "3") == 0
    assert _merge(owners, tmp_path) == 1
    assert "there is work of another source or other options: .work-" in capsys.readouterr().err


def test_a_shard_is_prepared_by_one_process(owners, tmp_path, capsys):
    """Another is refused, and so is writing the dataset meanwhile; both say who is at it."""
    assert _shard(owners, tmp_path, "1/2") == 0
    (work,) = (tmp_path / "disfa").glob(".work-*")
    with leases.held(work / "shard-2-of-2.lock"):
        assert _shard(owners, tmp_path, "2/2") == 1
        assert f"in use by process {os.getpid()}" in capsys.readouterr().err
        assert prepare.main(["disfa", *arguments(owners["disfa"], tmp_path)]) == 1
        assert f"shard 2/2 is being prepared by process {os.getpid()}" in capsys.readouterr().err


def test_one_machine_finishes_what_shards_have_begun(owners, prepared, tmp_path):
    """The command without --shard prepares the rest by itself, and no more."""
    assert _shard(owners, tmp_path, "1/2") == 0
    assert prepare.main(["disfa", *arguments(owners["disfa"], tmp_path)]) == 0
    assert dataset_bytes(tmp_path, "disfa") == dataset_bytes(prepared, "disfa")
    frames = [report_of(folder, "disfa")["pace"]["frames"] for folder in (tmp_path, prepared)]
    assert 0 < frames[0] < frames[1]


def test_shard_and_merge_exclude_each_other(owners, tmp_path, capsys):
    """And a shard is two numbers."""
    for words in (("--shard", "1/2", "--merge"), ("--shard", "0/2")):
        with pytest.raises(SystemExit) as ended:
            prepare.main(["disfa", *arguments(owners["disfa"], tmp_path, *words)])
        assert ended.value.code == 2
    assert "counted from 1: 1/2 to 2/2" in capsys.readouterr().err


def test_a_killed_shard_is_resumed(owners, prepared, tmp_path, monkeypatch, capsys):
    """After SIGKILL within a sequence: it is named as not finished, and resumed by the same command."""
    slow = (
        "import sys, time; from fgnet_jax.prepare import __main__, sequence\n"
        "sequence.CHUNK = 2; real = sequence._prepare\n"
        "def slowly(*given):\n    time.sleep(0.2)\n    return real(*given)\n"
        "sequence._prepare = slowly; sys.exit(__main__.main(sys.argv[1:]))"
    )
    words = ["disfa", *arguments(owners["disfa"], tmp_path, "--shard", "1/2")]
    process = subprocess.Popen([sys.executable, "-c", slow, *words], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "disfa").glob(".work-*/*/*/*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (work,) = (tmp_path / "disfa").glob(".work-*")
    begun = list(work.glob("*/*/*.npz"))
    assert begun and not json.loads((work / "shard-1-of-2.json").read_text())["complete"]
    assert _shard(owners, tmp_path, "2/2") == 0
    assert _merge(owners, tmp_path) == 1 and "shard 1/2 has not finished (" in capsys.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in begun}
    monkeypatch.setattr(sequence, "CHUNK", 2)
    assert _shard(owners, tmp_path, "1/2") == 0
    assert {path: path.stat().st_mtime_ns for path in begun} == before, "what was finished is not done again"
    assert _merge(owners, tmp_path) == 0
    assert dataset_bytes(tmp_path, "disfa") == dataset_bytes(prepared, "disfa")
