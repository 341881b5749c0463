"""The loader: every batch follows from seed and step, however many processes load parts of it."""

import dataclasses
import io
import itertools

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.data import pipeline, sampling
from fgnet_jax.data.pipeline import LoaderConfig, ProcessShard

LOADER = LoaderConfig(batch_size=4, image_size=32, threads=2)


class Numbered:
    """Faces in memory; landmark 0 of face i is at (i, i / 2), its labels are 1, 0 and unknown, its intensities, too."""

    def __init__(self, count=30):
        self._count = count
        stream = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(stream, "PNG")
        self._image = stream.getvalue()

    def __len__(self):
        return self._count

    def record(self, index):
        """As a corpus gives it."""
        landmarks = np.zeros((68, 2), np.float32)
        landmarks[0] = index, index / 2
        labels = np.array([1, 0, -1], np.int8)
        words = {"subject": "F001", "sequence": f"T{index % 2}", "frame": index}
        codes = {"labels": labels, "intensities": np.array([3.5, 0, -1], np.float32)}
        return {"image": self._image, "landmarks": landmarks, **codes, **words}

    def decoded(self, index, encoded, decoder):
        """As a corpus does it."""
        return decoder(encoded)


FACES = Numbered()
ALL = ProcessShard()
INDICES = np.arange(2, 28)  # of which 24 make three batches of eight


def batches(count, shard=ALL, start=0, seed=0, per_epoch=6, config=LOADER, sampler=None):
    """Load the first batches of a shard."""
    source = pipeline.train_batches(
        FACES, INDICES, config, steps_per_epoch=per_epoch, seed=seed, shard=shard, start=start, sampler=sampler
    )
    return list(itertools.islice(source, count))


def numbers(parts):
    """Which faces batches hold, one list a batch."""
    return [part["index"].tolist() for part in parts]


def test_a_batch_has_what_a_step_takes():
    """Images at the network's size, landmarks in their pixels, labels, and which faces they are."""
    (first,) = batches(1)
    shapes = {name: (x.shape, str(x.dtype)) for name, x in first.items()}
    assert shapes == {
        "image": ((4, 32, 32, 3), "uint8"),
        "landmarks": ((4, 68, 2), "float32"),
        "labels": ((4, 3), "int8"),
        "index": ((4,), "int32"),
    }
    np.testing.assert_array_equal(first["landmarks"][:, 0, 0], first["index"] / 2)  # half the stored side
    np.testing.assert_array_equal(first["labels"], [[1, 0, -1]] * 4)


def test_batches_follow_from_seed_and_step_alone():
    """The same again; others by another seed; a run that starts at step k has the k-th batch first."""
    expected = numbers(batches(14))
    assert numbers(batches(14)) == expected != numbers(batches(14, seed=1))
    for start in (1, 5, 6, 7, 13):
        assert numbers(batches(14 - start, start=start)) == expected[start:]


def test_every_epoch_is_another_permutation_without_a_repetition():
    """Six batches of four out of 26 faces."""
    epochs = np.array(numbers(batches(18))).reshape(3, 24)
    for epoch in epochs:
        assert len(set(epoch)) == 24 and set(epoch) <= set(INDICES)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len({frozenset(epoch) for epoch in epochs}) > 1, "the two that are left out change"


@pytest.mark.parametrize("count", [2, 4])
def test_processes_load_the_batch_that_one_process_loads(count):
    """As a set, at every step, also when they resume."""
    for start in (0, 5):
        shards = [numbers(batches(9, ProcessShard(index, count), start)) for index in range(count)]
        for parts, expected in zip(zip(*shards, strict=True), numbers(batches(9, start=start)), strict=True):
            assert all(len(part) == 4 // count for part in parts)
            assert sorted(itertools.chain(*parts)) == sorted(expected)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_balanced_order_is_the_same_in_any_number_of_processes(count):
    """Batch k is the faces at positions 4 k to 4 k + 3, also of a resumed run."""
    labels = (INDICES[:, None] % [2, 13] == 0).astype(np.int8)  # of 26 faces, 13 and 2
    order = sampling.balanced(INDICES, labels, seed=5)
    for start in (0, 7):
        shards = [numbers(batches(9, ProcessShard(k, count), start, sampler=order)) for k in range(count)]
        for step, parts in enumerate(zip(*shards, strict=True), start):
            expected = [order(position) for position in range(4 * step, 4 * step + 4)]
            assert [face for faces in zip(*parts, strict=True) for face in faces] == expected


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("faces", [1, 4, 9, 26])
def test_evaluation_has_every_face_once_in_as_many_batches_in_all_processes(count, faces):
    """Padding at the end is not valid."""
    shards = [
        list(pipeline.eval_batches(FACES, INDICES[:faces], LOADER, shard=ProcessShard(k, count))) for k in range(count)
    ]
    assert {len(shard) for shard in shards} == {-(-faces // 4)}
    every = list(itertools.chain(*shards))
    assert {part["image"].shape for part in every} == {(4 // count, 32, 32, 3)}
    indices = np.concatenate([part["index"][part["valid"]] for part in every])
    assert sorted(indices) == INDICES[:faces].tolist()


@pytest.mark.parametrize("count", [1, 2])
def test_evaluation_begins_at_any_batch(count):
    """The batches from there on are those of an evaluation from the beginning, padding included."""
    for k in range(count):
        whole, rest = (
            list(pipeline.eval_batches(FACES, INDICES[:10], LOADER, shard=ProcessShard(k, count), start=start))
            for start in (0, 2)
        )
        assert len(rest) == 1
        assert all(np.array_equal(rest[0][name], whole[2][name]) for name in whole[2])


def test_labels_come_in_the_networks_order():
    """An AU that the corpus lacks is unknown."""
    config = LoaderConfig(batch_size=4, image_size=32, columns=(1, -1, 2, 0))
    np.testing.assert_array_equal(batches(1, config=config)[0]["labels"], [[0, -1, -1, 1]] * 4)


def test_threads_change_nothing():
    """One thread that decodes, or eight."""
    single, several = (batches(8, config=LoaderConfig(4, 32, threads)) for threads in (1, 8))
    for a, b in zip(single, several, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)


def test_faces_are_named_for_messages():
    """By subject, sequence and frame."""
    assert pipeline.describe(FACES, [3, 8]) == ["F001/T1 frame 3", "F001/T0 frame 8"]


def test_impossible_batches_are_refused():
    """One that does not divide over the processes; an epoch of more faces than there are."""
    with pytest.raises(ValueError, match="a batch of 4 does not divide over 3 processes"):
        batches(1, ProcessShard(0, 3))
    with pytest.raises(ValueError, match="7 batches of 4 need more than 26 faces"):
        batches(1, per_epoch=7)


def test_a_batch_has_intensities_where_they_are_requested():
    """In the order of the network's channels, as labels; -1 for an AU that the corpus lacks."""
    (first,) = batches(1, config=dataclasses.replace(LOADER, intensities=True, columns=(2, 0, -1)))
    assert first["intensities"].dtype == np.float32
    np.testing.assert_array_equal(first["intensities"], [[-1, 3.5, -1]] * 4)
    np.testing.assert_array_equal(first["labels"], [[-1, 1, -1]] * 4)
