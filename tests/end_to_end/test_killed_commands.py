"""Commands that are killed at random moments, again and again, end with the same bits as ones that are not.

Each command is killed `FGNET_JAX_KILLS` times (3 unless it is set). 200 kills in all are

    FGNET_JAX_KILLS=50 python -m pytest tests/end_to_end/test_killed_commands.py
"""

import dataclasses
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests import miniature
from tests.convert_weights import fileset
from tests.end_to_end import command
from tests.end_to_end.command import ROOT

pytestmark = pytest.mark.slow  # commands that are killed

KILLS = int(os.environ.get("FGNET_JAX_KILLS", "3"))
_VARYING = {"time", "argv", "hostname", "provenance", "sha256", "seconds", "frames_per_second", "speed", "minutes"}
"""Keys of JSON files that differ between any two runs."""


@dataclasses.dataclass(frozen=True)
class Killed:
    """A command to kill.

    Attributes:
      words: From the folder that it writes into to its command line.
      result: From that folder to what must be the same, by name.
      saved: From that folder to how much of the work is finished and must not be done again.
    """

    words: Callable[[Path], list[str]]
    result: Callable[[Path], dict[str, object]]
    saved: Callable[[Path], int]


def digests(files: Iterable[Path], folder: Path) -> dict[str, object]:
    """Return the SHA-256 of files by their path; of JSON files, without what differs between any two runs."""
    return {str(path.relative_to(folder)): _digest(path) for path in files if path.is_file()}


def _digest(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".json":
        data = json.dumps(_constant(json.loads(data)), sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def _constant(value: object) -> object:
    if isinstance(value, dict):
        return {key: _constant(item) for key, item in value.items() if key not in _VARYING}
    return [_constant(item) for item in value] if isinstance(value, list) else value


def kill_at_random(killed: Killed, train: command.Command, folder: Path, seed: int) -> int:
    """Kill a command `KILLS` times; whenever it ended by itself first, compare its result and begin in a new folder.

    Returns:
      How many results were compared.
    """
    moments = random.Random(seed)
    begun = time.monotonic()
    assert _start(killed, train, folder / "undisturbed").wait() == 0
    seconds = time.monotonic() - begun
    expected = killed.result(folder / "undisturbed")
    kills, attempt, compared = 0, 0, 0
    while kills < KILLS:
        work = folder / str(attempt)
        before = killed.saved(work)
        process = _start(killed, train, work)
        try:
            process.communicate(timeout=moments.uniform(0, 1.2 * seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            assert killed.saved(work) >= before, f"kill {kills} lost what was finished"
            continue
        assert process.returncode == 0, f"attempt {attempt}, after {kills} kills"
        assert killed.result(work) == expected, f"attempt {attempt}, after {kills} kills"
        attempt, compared = attempt + 1, compared + 1
    work = folder / str(attempt)
    assert _start(killed, train, work).wait() == 0
    assert killed.result(work) == expected, f"after {kills} kills"
    return compared + 1


def _start(killed: Killed, train: command.Command, work: Path) -> subprocess.Popen:
    with (work.parent / f"{work.name}.log").open("ab") as log:
        return subprocess.Popen(killed.words(work), cwd=ROOT, env=train.environment(), stdout=log, stderr=log)


def _training(train: command.Command) -> Killed:
    """Train four epochs with a save at every step."""
    more = ("--config.train.epochs=4", "--config.train.checkpoint_steps=1")

    def result(work: Path) -> dict[str, object]:
        arrays = command.last(work) | command.best(work)
        bits: dict[str, object] = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
        return bits | {"f1": command.f1(work), "metrics": command.metrics(work)}

    def saved(work: Path) -> int:
        return max(command.saved_steps(work), default=0) if (work / "checkpoints").is_dir() else 0

    return Killed(words=lambda work: train.words(work, *more), result=result, saved=saved)


def _preparation(folder: Path) -> Killed:
    """Prepare a miniature DISFA, whose landmarks are on disk, with two workers."""
    mini = miniature.disfa(folder / "owners")

    def words(work: Path) -> list[str]:
        given = ["--source", str(mini.root), "--landmarks", str(mini.landmarks), "--workers", "2"]
        return [sys.executable, "-m", "fgnet_jax.prepare", "disfa", *given, "--data_dir", str(work)]

    def result(work: Path) -> dict[str, object]:
        files = [path for path in (work / "disfa/1.0.0").rglob("*") if not path.name.startswith(".")]
        return digests(sorted(files), work)

    def saved(work: Path) -> int:
        finished = (work / "disfa/1.0.0/dataset_info.json").exists()
        return 10**6 if finished else len(list(work.glob("disfa/.work-*/**/*.npz")))

    return Killed(words=words, result=result, saved=saved)


def _evaluation(train: command.Command, folder: Path) -> Killed:
    """Evaluate a run on two of its corpus' folds that it left out, with everything written."""
    train(folder / "run", "--config.train.epochs=1")
    corpora = {path.parent.parent.name for path in (train.shared / "data").glob("*/*/*/dataset_info.json")}
    assert corpora, "the tiny run renders its corpus"
    name = json.loads((folder / "run/config.json").read_text())["data"]["corpus"]

    def words(work: Path) -> list[str]:
        given = ["--weights", str(folder / "run"), "--corpus", name, "--data_dir", str(train.shared / "data")]
        more = ["--output", str(work), "--resamples", "50"]
        return [sys.executable, "-m", "fgnet_jax.evaluate", *given, *more]

    def result(work: Path) -> dict[str, object]:
        return digests(sorted(work.rglob("*")), work)

    def saved(work: Path) -> int:
        return len(list((work / "predictions").glob("*.parquet")))

    return Killed(words=words, result=result, saved=saved)


def _conversion(folder: Path) -> Killed:
    """Convert the published files of a tiny network."""
    files = fileset.make(folder)

    def words(work: Path) -> list[str]:
        given = ["--fgnet", str(files.model), "--encoder", str(files.encoder), "--corpus", "disfa", "--config", "tiny"]
        return [sys.executable, "-m", "convert_weights", *given, "--output", str(work / "weights"), "--overwrite"]

    def result(work: Path) -> dict[str, object]:
        arrays = command.weights_arrays(work / "weights")
        bits: dict[str, object] = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
        return bits | {"folder": sorted(path.name for path in work.iterdir())}

    def saved(work: Path) -> int:
        return int((work / "weights").exists())

    return Killed(words=words, result=result, saved=saved)


@pytest.mark.skipif("FGNET_JAX_KILLS" not in os.environ, reason="test_killed.py kills training, ten times")
def test_training(train, tmp_path):
    """Compare last checkpoint, best weights, F1 and all metrics on the way."""
    assert kill_at_random(_training(train), train, tmp_path, seed=1) >= 1


def test_preparation(train, tmp_path):
    """Compare every file of the dataset."""
    (tmp_path / "owners").mkdir()
    assert kill_at_random(_preparation(tmp_path), train, tmp_path, seed=2) >= 1


def test_evaluation(train, tmp_path):
    """Compare tables, predictions, plots and the report."""
    assert kill_at_random(_evaluation(train, tmp_path), train, tmp_path, seed=3) >= 1


def test_conversion(train, tmp_path):
    """Compare every array; no temporary folder is left."""
    (tmp_path / "files").mkdir()
    assert kill_at_random(_conversion(tmp_path / "files"), train, tmp_path, seed=4) >= 1
