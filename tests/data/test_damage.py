"""Damaged corpora: the file, split and record are named, and no wrong face is ever read."""

import json
import random

import numpy as np
import pytest

from fgnet_jax.data import pipeline
from fgnet_jax.data.corpus import CorpusError, find_corpus, open_directory
from fgnet_jax.runtime import sums

SPLITS = ("fold_0", "fold_1", "fold_2")


def _shard(folder, split):
    return next(folder.glob(f"*{split}.array_record*"))


def _change(path, place, byte=None):
    """Change a byte of a file: a bit of it, or to a new value."""
    content = bytearray(path.read_bytes())
    content[place] = content[place] ^ 1 if byte is None else byte
    path.write_bytes(content)


def test_a_damaged_record_is_named_by_file_split_and_number(folder):
    """And the message says what to do; the records beside it are read."""
    _change(_shard(folder, "fold_1"), 3000)
    corpus = open_directory(folder, SPLITS)
    with pytest.raises(CorpusError) as error:
        corpus.record(2)
    message = str(error.value)
    assert message.startswith(f"{_shard(folder, 'fold_1')}: record 0 (fold_1 0) cannot be read (")
    assert f"remove {folder} and prepare the corpus anew" in message and "\n" not in message
    assert [corpus.record(k)["frame"] for k in (0, 1, 3, 4, 5)] == [1, 1, 1, 1, 1]


def test_the_message_survives_the_loader_s_threads(folder):
    """Training ends with it."""
    _change(_shard(folder, "fold_1"), 3000)
    corpus = open_directory(folder, SPLITS)
    config = pipeline.LoaderConfig(batch_size=2, image_size=64, threads=2)
    shard = pipeline.ProcessShard()
    batches = pipeline.train_batches(corpus, np.arange(6), config, steps_per_epoch=3, seed=0, shard=shard)
    with pytest.raises(CorpusError, match=r"fold_1.array_record\S*: record 0 \(fold_1 0\) cannot be read"):
        for _ in range(3):
            next(batches)


def test_an_image_that_cannot_be_decoded_is_named(folder, monkeypatch):
    """Should a record be whole and its image not."""
    corpus = open_directory(folder, SPLITS)
    real = corpus.sources[2].__class__.__getitem__
    monkeypatch.setattr(
        type(corpus.sources[2]), "__getitem__", lambda self, k: real(self, k) | {"image": b"\xff\xd8no"}
    )
    config = pipeline.LoaderConfig(batch_size=1, image_size=64)
    for read in (lambda: corpus[5], lambda: pipeline.load_face(corpus, 5, config)):
        with pytest.raises(CorpusError, match=r"record 1 \(fold_2 1\) has an image that cannot be decoded"):
            read()


@pytest.mark.parametrize("name", ["dataset_info.json", "metadata.json", "features.json", "sums.json"])
@pytest.mark.parametrize("has_sums", [True, False])
def test_damaged_descriptions_are_named_when_the_corpus_is_opened(folder, name, has_sums):
    """By their sums; those of earlier versions, which have none, where they are no JSON any more."""
    if not has_sums:
        (folder / "sums.json").unlink()
        if name == "sums.json":
            return
        (folder / name).write_text((folder / name).read_text()[:-20])
    else:
        _change(folder / name, 20)
    with pytest.raises(CorpusError, match=name) as error:
        open_directory(folder, SPLITS)
    assert "\n" not in str(error.value)


def test_a_missing_or_truncated_shard_is_named_when_the_corpus_is_opened(folder):
    """Before anything is trained."""
    shard = _shard(folder, "fold_2")
    shard.write_bytes(shard.read_bytes()[:-65536])
    with pytest.raises(CorpusError, match="fold_2.* has 65536 bytes in place of 131072"):
        open_directory(folder, SPLITS)
    shard.unlink()
    with pytest.raises(CorpusError, match="fold_2.* is missing"):
        open_directory(folder, SPLITS)
    (folder / "sums.json").unlink()
    with pytest.raises(CorpusError, match="fold_2.* is missing"):
        open_directory(folder, SPLITS)


def test_records_of_another_split_are_not_taken_for_these(folder):
    """A file that was copied over another of the same size: the index knows better."""
    _shard(folder, "fold_2").write_bytes(_shard(folder, "fold_0").read_bytes())
    corpus = open_directory(folder, SPLITS)
    assert len(corpus.subjects()) == 6
    with pytest.raises(CorpusError, match="is not the one that the index beside it names"):
        corpus.record(4)
    assert [damage.file for damage in sums.verify(folder)] == [_shard(folder, "fold_2")]


def test_no_change_of_a_bit_or_a_block_gives_another_face(folder):
    """Each is an error that names the file, or is where no record is; `fgnet-jax inspect` finds them all."""
    shard, draw = _shard(folder, "fold_0"), random.Random(0)
    intact, used = shard.read_bytes(), 48_200
    expected = [open_directory(folder, "fold_0").record(k) for k in range(2)]
    found = 0
    for _ in range(60):
        content, place = bytearray(intact), draw.randrange(draw.choice([used, len(intact)]))
        length = draw.choice([0, 1, 16, 4096])
        content[place : place + length] = bytes(len(content[place : place + length]))
        content[place] ^= 1 << draw.randrange(8)
        shard.write_bytes(content)
        corpus = open_directory(folder, "fold_0")
        for k in range(2):
            try:
                record = corpus.record(k)
            except CorpusError as error:
                assert str(error).startswith(str(shard))
                found += 1
            else:
                assert record["image"] == expected[k]["image"] and record["subject"] == expected[k]["subject"]
                np.testing.assert_array_equal(record["labels"], expected[k]["labels"])
                np.testing.assert_array_equal(record["landmarks"], expected[k]["landmarks"])
    assert found > 30


def test_a_dataset_has_sums_of_all_its_files(folder):
    """But of the index, which has one of its own, and is made again where it is lost."""
    named = json.loads((folder / "sums.json").read_text())["files"]
    assert set(named) == {path.name for path in folder.iterdir()} - {"sums.json", "faces.index"}
    assert not sums.verify(folder)


def test_a_dataset_that_has_lost_its_description_is_named(folder):
    """It is there, but cannot be opened."""
    (folder / "dataset_info.json").unlink()
    data_dir, name = folder.parents[2], str(folder.parent.relative_to(folder.parents[2]))
    with pytest.raises(CorpusError, match=r"dataset_info\.json is missing"):
        find_corpus(name, data_dir)


def test_a_preparation_that_never_ended_is_no_dataset_that_has_lost_its_description(tmp_path):
    """TensorFlow Datasets writes `.config/metadata.json` before anything else: nothing is lost."""
    for folder in (".config", "frames4_seed0/incomplete.A1B2C3_1.0.0"):
        (tmp_path / "faces" / folder).mkdir(parents=True)
        (tmp_path / "faces" / folder / "metadata.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="no prepared corpus 'faces'"):
        find_corpus("faces", tmp_path)


def test_a_dataset_that_has_lost_its_sums_is_not_taken_for_an_older_one(folder):
    """Its metadata say that there were sums."""
    (folder / "sums.json").unlink()
    with pytest.raises(CorpusError, match=r"sums\.json is missing"):
        open_directory(folder, "fold_0")
