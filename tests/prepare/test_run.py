"""Runs of the command: miniature copies of the corpora become datasets, by their options, and no other is reused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.data.corpus import open_corpus
from fgnet_jax.prepare import __main__ as prepare
from fgnet_jax.prepare.layouts import bp4d, disfa, records
from tests.prepare.corpora import SPLITS, arguments, report_of


@pytest.mark.parametrize("corpus", ["disfa", "bp4d"])
def test_every_usable_frame_is_in_its_fold(owners, prepared, corpus):
    """Subject by subject, and TFDS' own function opens the dataset."""
    builder = tfds.builder(corpus, data_dir=str(prepared))
    assert set(builder.info.splits) == set(SPLITS)
    for fold, subjects in enumerate(owners[corpus].subjects):
        names = open_corpus(corpus, prepared, SPLITS[fold]).subjects().tolist()
        expected = {name: owners[corpus].usable[name] for name in subjects if owners[corpus].usable[name]}
        assert {name: names.count(name) for name in set(names)} == expected
        assert {folds_lib.fold_of(corpus, name) for name in names} == {fold}


def test_a_prepared_dataset_is_left_as_it_is_and_no_other_is_reused(owners, prepared, tmp_path, capsys):
    """The same source and options find it prepared already; others are refused, with what differs."""
    before = {path: path.stat().st_mtime_ns for path in (prepared / "disfa").rglob("*.array_record*")}
    assert prepare.main(["disfa", *arguments(owners["disfa"], prepared)]) == 0
    assert "is prepared already" in capsys.readouterr().err
    assert prepare.main(["disfa", *arguments(owners["disfa"], prepared, "--threshold", "3")]) == 2
    message = capsys.readouterr().err
    assert (
        "was prepared from another source or with other options" in message
        and "threshold: 2 in the dataset, 3.0 now" in message
    )
    other = tmp_path / "DISFA"
    shutil.copytree(owners["disfa"].root, other)
    labels = other / "ActionUnit_Labels/SN001/SN001_au1.txt"
    labels.write_text(labels.read_text().replace("1,", "1,", 1).replace("\n2,", "\n2,", 1)[:-2] + "5\n")
    words = ["--source", str(other), "--landmarks", str(owners["disfa"].landmarks), "--data_dir", str(prepared)]
    assert prepare.main(["disfa", *words]) == 2
    assert "source: " in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (prepared / "disfa").rglob("*.array_record*")} == before


def test_threshold_aus_and_unknown_are_options(owners, tmp_path):
    """Other AUs than the published, a higher threshold, and frames with a 9 dropped."""
    strict = tmp_path / "strict"
    assert prepare.main(["disfa", *arguments(owners["disfa"], strict, "--threshold", "4", "--aus", "12,17,2")]) == 0
    corpus = open_corpus("disfa", strict, "+".join(SPLITS))
    assert corpus.aus == (12, 17, 2)
    for k in range(len(corpus)):
        record = corpus.record(k)
        np.testing.assert_array_equal(record["labels"], record["intensities"] >= 4)
    features: Any = tfds.builder("disfa", data_dir=str(strict)).info.features
    assert features["labels"].shape == (3,)
    dropped = tmp_path / "dropped"
    assert prepare.main(["bp4d", *arguments(owners["bp4d"], dropped, "--unknown", "drop")]) == 0
    assert report_of(dropped, "bp4d")["faces"] == sum(owners["bp4d"].usable.values()) - 1


def test_a_partition_file_replaces_the_folds(owners, tmp_path):
    """Subjects that it lacks are left out and reported."""
    folds = tmp_path / "folds.json"
    folds.write_text('[["SN004"], ["SN001", "SN006"], ["SN002"]]')
    assert prepare.main(["disfa", *arguments(owners["disfa"], tmp_path / "d", "--partition", str(folds))]) == 0
    subjects = [set(open_corpus("disfa", tmp_path / "d", split).subjects()) for split in SPLITS]
    assert subjects == [{"SN004"}, {"SN001", "SN006"}, {"SN002"}]
    left_out = [problem["where"] for problem in report_of(tmp_path / "d", "disfa")["problems"][records.NO_FOLD]["list"]]
    assert left_out == ["SN003", "SN011"]


def test_a_corpus_without_a_face_gives_no_dataset(owners, tmp_path, capsys):
    """Status 1, and the report says why."""
    landmarks = tmp_path / "landmarks"
    shutil.copytree(owners["disfa"].landmarks, landmarks)
    for path in landmarks.rglob("*.npy"):
        np.save(path, np.full_like(np.load(path), np.nan))
    words = ["--source", str(owners["disfa"].root), "--landmarks", str(landmarks), "--workers", "1"]
    assert prepare.main(["disfa", *words, "--data_dir", str(tmp_path / "data")]) == 1
    assert "no face of disfa could be prepared" in capsys.readouterr().err
    assert report_of(tmp_path / "data", "disfa")["faces"] == 0
    assert not (tmp_path / "data/disfa/1.0.0").exists()


def test_miniatures_are_what_the_readers_expect(owners):
    """All subjects and labelled frames are found."""
    for corpus, read in (("disfa", disfa.read), ("bp4d", bp4d.read)):
        corpus_records = read(Path(owners[corpus].root))
        assert corpus_records.aus == CORPUS_AUS[corpus]
        counts = dict.fromkeys(owners[corpus].labelled, 0)
        for sequence in corpus_records.sequences:
            counts[sequence.subject] += len(sequence.frames)
        bad = 6 if corpus == "bp4d" else 0
        assert sum(counts.values()) == sum(owners[corpus].labelled.values()) - bad
