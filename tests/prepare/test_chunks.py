"""Chunks: prepared faces that are stored until the dataset is written."""

import dataclasses
import random

import numpy as np
import pytest

from fgnet_jax.prepare import chunks
from fgnet_jax.prepare.layouts import records
from fgnet_jax.prepare.layouts.records import Problem


def _chunk(*problems):
    return chunks.Chunk(
        rows=np.array([0, 2], np.int32),
        landmarks=np.arange(272, dtype=np.float32).reshape(2, 68, 2),
        distances=np.array([0.1, np.nan], np.float32),
        images=[b"first", b"second image"],
        problems=problems,
    )


def test_chunks_are_read_as_they_were_written(tmp_path):
    """In order, with their problems; the last is known by its name."""
    problem = Problem(records.NO_FACE, "F001/T1 frame 2", "no face found")
    chunks.save(tmp_path / "F001/T1", 0, _chunk(problem), is_last=False)
    assert chunks.done(tmp_path / "F001/T1") == (1, False)
    chunks.save(tmp_path / "F001/T1", 1, _chunk(), is_last=True)
    assert chunks.done(tmp_path / "F001/T1") == (2, True)
    first, last = chunks.read(tmp_path / "F001/T1")
    assert (first.problems, last.problems) == ([problem], [])
    for chunk in (first, last):
        assert chunk.images == _chunk().images
        for name in ("rows", "landmarks", "distances"):
            np.testing.assert_array_equal(getattr(chunk, name), getattr(_chunk(), name))


def test_a_damaged_chunk_is_named_and_never_another(tmp_path):
    """With what to remove; a change of a bit is either found or in no content."""
    chunks.save(tmp_path, 0, _chunk(), is_last=True)
    (path,) = tmp_path.iterdir()
    intact, draw, found = path.read_bytes(), random.Random(0), 0
    for _ in range(80):
        content = bytearray(intact)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        try:
            chunk = chunks.load(path)
        except chunks.ChunkError as error:
            assert str(error).startswith(f"{path} is damaged (") and f"remove the folder {tmp_path}" in str(error)
            found += 1
        else:
            assert chunk.images == _chunk().images and chunk.rows.tolist() == [0, 2]
            np.testing.assert_array_equal(chunk.landmarks, _chunk().landmarks)
    assert found > 40


def test_a_missing_chunk_is_not_overlooked(tmp_path):
    """Its frames would be missing from the dataset."""
    for number in range(3):
        chunks.save(tmp_path, number, _chunk(), is_last=number == 2)
    (tmp_path / "00001.npz").unlink()
    with pytest.raises(chunks.ChunkError, match=f"a file in {tmp_path} is missing; remove the folder"):
        chunks.done(tmp_path)


def test_an_interrupted_write_leaves_no_chunk(tmp_path, monkeypatch):
    """Nor a temporary file."""

    def fail(*arrays, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="No space left"):
        chunks.save(tmp_path, 0, _chunk(), is_last=True)
    assert chunks.done(tmp_path) == (0, False) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("former", "kind"), [("label without picture", records.NO_IMAGE), ("picture without label", records.NO_LABEL)]
)
def test_former_kinds_of_problems_are_read_by_their_present_names(tmp_path, former, kind):
    """So that the report of work that was begun before the kinds were renamed has them."""
    problem = Problem(former, "F001/T1 frame 2", count=3)
    chunks.save(tmp_path, 0, _chunk(problem), is_last=True)
    (chunk,) = chunks.read(tmp_path)
    assert chunk.problems == [dataclasses.replace(problem, kind=kind)]
