"""Which faces are held out, and which are in which batch."""

import dataclasses
from typing import Any, cast

import numpy as np
import pytest

from fgnet_jax.distill import batches


@dataclasses.dataclass
class Cached:
    """Stands in for `CachedFaces`: positions alone."""

    source: np.ndarray
    frame: np.ndarray

    def __len__(self):
        return len(self.source)

    def load(self, index):
        """Return the position of a face."""
        return {"index": np.int32(index)}


def divide(source, frame, **changes):
    """Divide faces as a run does, by default without a corpus."""
    cached = cast(Any, Cached(np.asarray(source), np.asarray(frame)))
    names = [f"{k}.mp4" for k in range(int(cached.source.max()) + 1)]
    values = {"corpus_train": None, "names": names, "share": 0.1, "seed": 0, "count": 0} | changes
    return batches.divide(cached, **values)


def test_many_files_are_held_out_whole():
    """About the share of all faces, drawn by names: the same whatever else is there, others by another seed."""
    source, frame = np.repeat(np.arange(50), 10), np.tile(np.arange(1, 11), 50)
    divided = divide(source, frame)
    held = set(source[divided.held_out])
    assert not held & set(source[divided.train]) and 50 <= len(divided.held_out) <= 60
    assert divided.rule == "files drawn by hash"
    assert set(source[divide(source, frame, seed=1).held_out]) != held


def test_of_a_few_files_frames_are_held_out():
    """All faces of a frame together."""
    frame = np.repeat(np.arange(1, 101), 2)
    divided = divide(np.zeros(200, int), frame)
    assert not set(frame[divided.held_out]) & set(frame[divided.train]) and len(divided.held_out) == 20
    assert divided.rule.startswith("frames drawn by hash")


def test_of_a_corpus_the_subjects_that_were_held_out_are():
    """They come behind the training faces; files beside the corpus have their own rule."""
    source, frame = np.repeat([0, 1], [60, 40]), np.r_[1:61, 1:41]
    divided = divide(source, frame, corpus_train=50)
    assert set(divided.held_out.tolist()) >= set(range(50, 60)) and set(range(50)) <= set(divided.train.tolist())
    assert divided.rule.startswith("held-out training subjects and ")


def test_fewer_faces_are_the_first_of_one_permutation():
    """So that a curve over their number adds faces, and held-out faces stay the same."""
    source, frame = np.zeros(200, int), np.arange(1, 201)
    small, large = (divide(source, frame, count=count) for count in (20, 50))
    assert len(small.train) == 20 and set(small.train.tolist()) < set(large.train.tolist())
    np.testing.assert_array_equal(small.held_out, large.held_out)
    there = len(divide(source, frame).train)
    with pytest.raises(ValueError, match=rf"distill\.faces asks for 1,000 faces, and {there} are there to train on"):
        divide(source, frame, count=1000)


def test_a_single_face_is_too_few():
    """Nothing is left to train on."""
    with pytest.raises(ValueError, match="1 faces are too few"):
        divide([0], [1])


def test_a_batch_depends_on_its_number_alone():
    """Loading from step 5 on gives what loading from the beginning gives there; every pass has every face once."""
    faces = divide(np.zeros(20, int), np.arange(1, 21))
    load = {"batch_size": 6, "seed": 3, "threads": 2}
    first = [next(loaded) for loaded in [batches.train_batches(faces, start=0, **load)] for _ in range(8)]
    later = batches.train_batches(faces, start=5, **load)
    for batch in first[5:]:
        np.testing.assert_array_equal(next(later)["index"], batch["index"])
    assert sorted(np.concatenate([batch["index"] for batch in first[:3]])) == faces.train.tolist()


def test_each_held_out_face_is_compared_once():
    """The last batch is padded."""
    faces = divide(np.zeros(20, int), np.arange(1, 21))
    loaded = list(batches.eval_batches(faces.cached, np.arange(10), batch_size=4, threads=1))
    valid = np.concatenate([batch["index"][batch["valid"]] for batch in loaded])
    assert valid.tolist() == list(range(10)) and all(len(batch["index"]) == 4 for batch in loaded)
