"""Scores that are kept on the way: an evaluation that is killed goes on where it was, and has the same bits."""

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.data.pipeline import LoaderConfig
from fgnet_jax.evaluate import partial_scores
from fgnet_jax.evaluate.partial_scores import PartialScores
from fgnet_jax.runtime import sharding
from fgnet_jax.train.evaluator import ScoredFaces

LOADER = LoaderConfig(batch_size=4, image_size=8, threads=2)
INDICES = np.arange(3, 25)
BATCHES = 6


class Faces:
    """Thirty faces, each an image of its own."""

    def __len__(self):
        return 30

    def record(self, index):
        """Draw a face."""
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8)).save(buffer, "PNG")
        labels = np.array([index % 2, -1], np.int8)
        return {"image": buffer.getvalue(), "landmarks": np.zeros((68, 2), np.float32), "labels": labels}

    def decoded(self, index, encoded, decoder):
        """Decode it."""
        del index
        return decoder(encoded)


def step(variables, batch):
    """Score images so that every pixel, and every other image of the batch, counts."""
    images = np.asarray(batch["image"], np.float32) / 255
    scores = np.stack([images.mean((1, 2, 3)) + images.mean() * variables["scale"], images.std((1, 2, 3))], 1)
    return {"scores": scores} | {name: batch[name] for name in ("labels", "index", "valid")}


def evaluate(folder: Path | None, key: str = "key", *, stop_after: int = 1000) -> tuple[ScoredFaces, list[int]]:
    """Score all faces, keeping every batch; return the scores, and the numbers of faces that were reported."""
    partial, reported = (PartialScores(folder, key) if folder else None), []
    before = partial.read(LOADER.batch_size, len(INDICES)) if partial else []

    def count(done: int) -> None:
        reported.append(done)
        if len(reported) == stop_after:
            raise KeyboardInterrupt

    scored = partial_scores.score(
        step,  # pyright: ignore[reportArgumentType]  # a stand-in
        {"scale": np.float32(0.1)},  # pyright: ignore[reportArgumentType]
        Faces(),
        INDICES,
        loader=LOADER,
        layout=sharding.create(),
        before=before,
        keep=partial.write if partial else lambda part, first: None,
        done=count,
    )
    return scored, reported


def same(a, b) -> bool:
    """Return whether scores have the same bits."""
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in ("scores", "labels", "indices"))


def test_faces_are_scored_in_order_and_reported_by_frames():
    """The last batch by its frames, without its padding."""
    scored, reported = evaluate(None)
    assert scored.indices.tolist() == INDICES.tolist() and reported == [4, 8, 12, 16, 20, 22]
    assert scored.labels.tolist() == [[index % 2, -1] for index in INDICES.tolist()]


@pytest.mark.parametrize("seconds", [0, 1000], ids=["a file per batch", "a file per stop"])
def test_what_is_interrupted_goes_on_with_the_same_bits(tmp_path, monkeypatch, seconds):
    """Again and again; after Ctrl-C, no batch is scored twice."""
    monkeypatch.setattr(partial_scores, "SECONDS", seconds)
    expected, _ = evaluate(None)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            evaluate(tmp_path, stop_after=2)
    scored, reported = evaluate(tmp_path)
    assert same(scored, expected) and reported == [20, 22]
    again, reported = evaluate(tmp_path)
    assert same(again, expected) and reported == [], "all is there"


def test_what_is_of_another_key_is_never_read(tmp_path, monkeypatch, capsys):
    """And removed, which is said."""
    monkeypatch.setattr(partial_scores, "SECONDS", 0)
    evaluate(tmp_path, "former")
    _, reported = evaluate(tmp_path, "other")
    assert reported[0] == 4
    assert f"{tmp_path}: of other weights, faces or versions: predicted anew" in capsys.readouterr().err
    assert {path.name[:6] for path in tmp_path.iterdir()} == {"other-"}


def test_the_key_is_of_all_that_scores_depend_on(tmp_path):
    """Metadata, faces, and batches; files of predictions do not share them."""
    path = tmp_path / "p.parquet"
    keys = [
        partial_scores.beside(path, metadata, np.array(indices), size).key
        for metadata, indices, size in (
            ({"weights": "a"}, [1, 2], 4),
            ({"weights": "b"}, [1, 2], 4),
            ({"weights": "a"}, [1, 3], 4),
            ({"weights": "a"}, [1, 2], 8),
        )
    ]
    assert len(set(keys)) == 4
    assert keys[0] == partial_scores.beside(path, {"weights": "a"}, np.array([1, 2]), 4).key
    assert partial_scores.beside(path, {}, INDICES, 4).folder == tmp_path / "p.parquet.parts"


def test_damaged_files_are_scored_again(tmp_path, monkeypatch):
    """From there on; what is before is read."""
    monkeypatch.setattr(partial_scores, "SECONDS", 0)
    expected, _ = evaluate(tmp_path)
    damaged = tmp_path / "key-000000008.npz"
    damaged.write_bytes(damaged.read_bytes()[:200])
    scored, reported = evaluate(tmp_path)
    assert same(scored, expected) and reported[0] == 12


_SLOWLY = """
import sys, time
from pathlib import Path
from fgnet_jax.evaluate import partial_scores
from tests.evaluate import test_partial_scores as tests
partial_scores.SECONDS, quick = 0, tests.step
def slowly(variables, batch):
    time.sleep(0.5)
    return quick(variables, batch)
tests.step = slowly
tests.evaluate(Path(sys.argv[1]))
"""


def test_a_killed_evaluation_goes_on_where_it_was(tmp_path, monkeypatch):
    """After SIGKILL, twice: with the bits of one that was not disturbed, and no batch that was kept is scored again."""
    monkeypatch.setattr(partial_scores, "SECONDS", 0)
    kept = 0
    for least in (1, 3):
        process = subprocess.Popen(
            [sys.executable, "-c", _SLOWLY, str(tmp_path / "parts")], cwd=Path(__file__).parents[2]
        )
        deadline = time.monotonic() + 120
        while (kept := len(list((tmp_path / "parts").glob("*.npz")))) < least and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert 3 <= kept < BATCHES
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").glob("*.npz")}
    scored, reported = evaluate(tmp_path / "parts")
    assert same(scored, evaluate(None)[0]) and len(reported) == BATCHES - len(before)
    assert {path: path.stat().st_mtime_ns for path in before} == before
