"""Runs of the command: miniature copies of the corpora become datasets, by their options, and no other is reused."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.data import schema
from fgnet_jax.data.corpus import open_corpus
from fgnet_jax.prepare import __main__ as prepare
from fgnet_jax.prepare import settings
from fgnet_jax.prepare.layouts import bp4d, disfa, records
from tests.prepare.corpora import SPLITS, arguments, dataset_bytes, report_of


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


def test_landmarks_that_moved_are_refused(owners, tmp_path, capsys):
    """By nine pixels, in files of the same names and sizes: what is prepared is of other landmarks."""
    landmarks = shutil.copytree(owners["disfa"].landmarks, tmp_path / "landmarks")
    moved = dataclasses.replace(owners["disfa"], landmarks=landmarks)
    assert prepare.main(["disfa", *arguments(moved, tmp_path / "data")]) == 0
    for path in landmarks.rglob("*.npy"):
        np.save(path, np.load(path) + np.float32(9))
    assert prepare.main(["disfa", *arguments(moved, tmp_path / "data")]) == 2
    assert "source: " in capsys.readouterr().err


def test_a_dataset_of_an_earlier_version_stays_usable(owners, prepared, tmp_path, capsys):
    """Of which only names and sizes of the source's files are known: that is said."""
    data = tmp_path / "data"
    shutil.copytree(prepared / "disfa", data / "disfa")
    folder = data / "disfa/1.0.0"
    for name in ("sums.json", "faces.index"):
        (folder / name).unlink()
    corpus = disfa.read(owners["disfa"].root)
    landmarks = owners["disfa"].landmarks
    chosen = settings.settings(corpus, landmarks=landmarks, predictor=None, aligned_landmarks=None)
    options = {"layout": "disfa", "partition": "standard", "threshold": 2, "camera": "left"}
    former = settings.former_preparation(corpus, chosen, options)
    metadata = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(metadata | {"preparation": former, "sums": False}))
    assert prepare.main(["disfa", *arguments(owners["disfa"], data)]) == 0
    assert "prepared already, by an earlier version that recorded names and sizes" in capsys.readouterr().err
    assert len(open_corpus("disfa", data, SPLITS).subjects()) > 0
    assert prepare.main(["disfa", *arguments(owners["disfa"], data, "--threshold", "3")]) == 2


def test_a_damaged_dataset_is_named(prepared, owners, tmp_path, capsys):
    """In a line, when it is found in the place of the one to prepare."""
    shutil.copytree(prepared / "disfa", tmp_path / "disfa")
    (tmp_path / "disfa/1.0.0/metadata.json").write_text("{")
    assert prepare.main(["disfa", *arguments(owners["disfa"], tmp_path)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "1.0.0/metadata.json has 1 bytes in place of" in last and "prepare the corpus anew" in last


def test_a_second_corpus_of_a_layout_has_its_own_name(owners, tmp_path, capsys):
    """And a partition of its own, without which it is refused."""
    words = ["disfa", *arguments(owners["disfa"], tmp_path / "data", "--name", "disfa_again")]
    assert prepare.main(words) == 2
    assert "--partition" in capsys.readouterr().err
    folds = tmp_path / "folds.json"
    folds.write_text('[["SN004"], ["SN001", "SN006"], ["SN002"]]')
    assert prepare.main([*words, "--partition", str(folds)]) == 0
    corpus = open_corpus("disfa_again", tmp_path / "data", SPLITS)
    assert corpus.name == "disfa_again" and corpus.identities[0].preparation["layout"] == "disfa"
    assert corpus.identities[0].recordings == "disfa", "its subjects are those of DISFA, under any name"
    assert list(corpus.subjects_by_corpus(np.arange(len(corpus)))) == ["disfa"]
    assert set(corpus.subjects()) == {"SN001", "SN002", "SN004", "SN006"}


def test_a_second_preparation_waits_and_finds_the_work_done(owners, tmp_path, capsys):
    """It says for whom it waits, at once, and does nothing again."""
    mini, data = owners["disfa"], tmp_path / "data"
    with schema.only_writer(data / "disfa"):
        code = "import sys; from fgnet_jax.prepare.__main__ import main; sys.exit(main(sys.argv[1:]))"
        second = subprocess.Popen(
            [sys.executable, "-c", code, "disfa", *arguments(mini, data)], stderr=subprocess.PIPE, text=True
        )
        assert second.stderr is not None
        first_line = next(line for line in second.stderr if "waiting" in line)
        assert f"is being prepared by process {os.getpid()}" in first_line, first_line
        other = tmp_path / "other"
        assert prepare.main(["disfa", *arguments(mini, other)]) == 0
        shutil.copytree(other / "disfa/1.0.0", data / "disfa/1.0.0")
    _, rest = second.communicate(timeout=120)
    assert second.returncode == 0 and "is prepared already" in rest and "preparing:" not in rest
    capsys.readouterr()


def test_two_preparations_are_the_same_bytes(owners, tmp_path):
    """In any process: every file of the dataset."""
    code = "import sys; from fgnet_jax.prepare.__main__ import main; sys.exit(main(sys.argv[1:]))"
    for seed in "12":
        words = ["disfa", *arguments(owners["disfa"], tmp_path / seed)]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, *words], check=True, env=environment, capture_output=True)
    first, second = (dataset_bytes(tmp_path / seed, "disfa") for seed in "12")
    assert first == second and {"sums.json", "faces.index", "dataset_info.json"} < first.keys()


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
