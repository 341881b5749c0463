"""The index beside a dataset: who is in it is known without reading its records, and never from another's index."""

import hashlib
import io
import json

import numpy as np
import pytest

from fgnet_jax.data import index, source
from fgnet_jax.data.corpus import join, open_directory
from fgnet_jax.data.index import INDEX_FILE
from fgnet_jax.runtime import files

SPLITS = ("fold_0", "fold_1", "fold_2")


@pytest.fixture
def reads(monkeypatch):
    """Count the records that are read."""
    counted = []
    real = source.SplitSource.__getitem__
    monkeypatch.setattr(source.SplitSource, "__getitem__", lambda self, k: counted.append(k) or real(self, k))
    return counted


def _labels(corpus):
    return [corpus.record(k)["labels"] for k in range(len(corpus))]


def test_subjects_and_labels_are_known_without_reading_a_record(folder, reads):
    """All that training and evaluation need at their start."""
    corpus = open_directory(folder, SPLITS)
    known = corpus.index
    assert corpus.subjects().tolist() == known.subjects.tolist() and not reads
    assert corpus.subjects_by_corpus(np.arange(6)) == {corpus.name: sorted(set(known.subjects))} and not reads
    for k in range(6):
        record = corpus.record(k)
        assert (record["subject"], record["sequence"]) == (known.subjects[k], known.sequences[k])
        assert record["frame"] == known.frames[k]
        np.testing.assert_array_equal(record["labels"], known.labels[k])
        np.testing.assert_array_equal(record["intensities"], known.intensities[k])
    assert known.labels.dtype == np.int8 and len(known) == 6


def test_joined_corpora_have_a_joined_index(folder, reads):
    """Subjects under their corpus' name, labels in the columns of all AUs."""
    first, second = open_directory(folder, "fold_0"), open_directory(folder, "fold_1+fold_2")
    both = join([first, second])
    assert len(both.index) == 6 and all(name.startswith("synthetic_disfa/") for name in both.subjects()) and not reads
    np.testing.assert_array_equal(both.index.labels, _labels(both))
    coded = [both.record(k)["intensities"] for k in range(6)]
    np.testing.assert_array_equal(both.index.intensities, coded)
    columns = both.columns((both.aus[2], 43, both.aus[0]))
    chosen = both.index.intensities_of(np.array([4, 1]), columns)
    np.testing.assert_array_equal(chosen, [[coded[k][2], -1, coded[k][0]] for k in (4, 1)])


def test_an_older_dataset_gets_its_index_when_it_is_first_opened(folder, reads):
    """The same bytes as the preparation writes."""
    written = (folder / INDEX_FILE).read_bytes()
    (folder / INDEX_FILE).unlink()
    names = open_directory(folder, SPLITS).subjects().tolist()
    assert len(reads) == 6 and (folder / INDEX_FILE).read_bytes() == written
    assert open_directory(folder, "fold_2").subjects().tolist() == names[4:] and len(reads) == 6


@pytest.mark.parametrize("place", [0, 40, 64, 200, -300, -1])
def test_a_damaged_index_is_built_anew(folder, reads, capsys, place):
    """Wherever a bit of it has changed, and it is said."""
    path = folder / INDEX_FILE
    written = path.read_bytes()
    damaged = bytearray(written)
    damaged[place] ^= 4
    path.write_bytes(damaged)
    names = open_directory(folder, SPLITS).subjects()
    assert "is damaged: it is built anew" in capsys.readouterr().err
    assert len(reads) == 6 and path.read_bytes() == written
    np.testing.assert_array_equal(names, open_directory(folder, SPLITS).subjects())


def test_the_index_of_another_dataset_is_not_used(folder, reads, capsys):
    """Nor that of another preparation with the same name and as many faces: here, of AUs in another order."""
    metadata = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(metadata | {"aus": metadata["aus"][::-1], "sums": False}))
    (folder / "sums.json").unlink()
    assert len(open_directory(folder, SPLITS).subjects()) == 6 and len(reads) == 6
    assert "is of another dataset: it is built anew" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to_is_read_every_time(folder, monkeypatch, capsys):
    """It is said why starts are slow."""
    (folder / INDEX_FILE).unlink()

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files, "replacing", refuse)
    assert len(open_directory(folder, SPLITS).subjects()) == 6
    assert "no index beside the dataset" in capsys.readouterr().err and not (folder / INDEX_FILE).exists()


def test_the_index_of_no_records_is_empty():
    """As a corpus without splits has it."""
    assert len(index.build([])) == 0 and len(index.join([])) == 0


def test_the_index_of_an_earlier_version_is_built_anew(folder, reads, capsys):
    """It had no intensities."""
    written = (folder / INDEX_FILE).read_bytes()
    with np.load(io.BytesIO(written[65:])) as arrays:
        header = json.loads(arrays["header"].tobytes()) | {"format": 1}
        earlier = {name: values for name, values in arrays.items() if "intensities" not in name}
    earlier["header"] = np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8)
    body = io.BytesIO()
    np.savez(body, **earlier)
    content = body.getvalue()
    (folder / INDEX_FILE).write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    assert len(open_directory(folder, SPLITS).subjects()) == 6 and len(reads) == 6
    assert "is of an earlier version of this package: it is built anew" in capsys.readouterr().err
    assert (folder / INDEX_FILE).read_bytes() == written
