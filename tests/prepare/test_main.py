"""The command: miniature copies of the corpora become datasets, every awkward case ends in the report."""

import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.data.corpus import open_corpus
from fgnet_jax.prepare import __main__ as prepare
from fgnet_jax.prepare import sequence
from fgnet_jax.prepare.layouts import bp4d, disfa, records
from tests import miniature

ROOT = Path(__file__).parents[2]
SPLITS = ("fold_0", "fold_1", "fold_2")


@pytest.fixture(scope="module")
def owners(tmp_path_factory):
    """Both miniatures, by corpus."""
    root = tmp_path_factory.mktemp("owners")
    return {"disfa": miniature.disfa(root), "bp4d": miniature.bp4d(root)}


def _words(mini, data, *more):
    where = ["--source", str(mini.root), "--landmarks", str(mini.landmarks), "--data_dir", str(data), "--workers", "1"]
    return [*where, *more]


@pytest.fixture(scope="module")
def prepared(owners, tmp_path_factory):
    """Both prepared in one folder."""
    data = tmp_path_factory.mktemp("data")
    for corpus, mini in owners.items():
        assert prepare.main([corpus, *_words(mini, data)]) == 0
    return data


def _report(data, corpus):
    return json.loads((data / "reports" / corpus / "report.json").read_text())


def _bytes(data, corpus):
    """Every file of a dataset."""
    return {path.name: path.read_bytes() for path in sorted((data / corpus / "1.0.0").iterdir())}


@pytest.mark.parametrize("corpus", ["disfa", "bp4d"])
def test_every_usable_frame_is_there_in_its_fold(owners, prepared, corpus):
    """Subject by subject, and TFDS' own function opens it."""
    builder = tfds.builder(corpus, data_dir=str(prepared))
    assert set(builder.info.splits) == set(SPLITS)
    for fold, subjects in enumerate(owners[corpus].subjects):
        names = open_corpus(corpus, prepared, SPLITS[fold]).subjects().tolist()
        wanted = {name: owners[corpus].usable[name] for name in subjects if owners[corpus].usable[name]}
        assert {name: names.count(name) for name in set(names)} == wanted
        assert {folds_lib.fold_of(corpus, name) for name in names} == {fold}


AWKWARD = {
    "no face": records.NO_FACE,
    "truncated image": records.UNREADABLE,
    "label without image": records.NO_IMAGE,
    "video too short": records.NO_IMAGE,
    "video too long": records.NO_LABEL,
    "bad label file": records.BAD_FILE,
    "not known": records.NOT_KNOWN,
}
"""The miniatures' names of what is awkward, and the report's."""


@pytest.mark.parametrize("corpus", ["disfa", "bp4d"])
def test_every_awkward_case_ends_in_the_report(owners, prepared, corpus):
    """In JSON and in the text; a frame count that is off also by itself."""
    problems = _report(prepared, corpus)["problems"]
    text = (prepared / "reports" / corpus / "report.txt").read_text()
    assert owners[corpus].awkward, "the miniature has awkward cases"
    for case, places in owners[corpus].awkward.items():
        listed = [f"{problem['where']} {problem['detail']}" for problem in problems[AWKWARD[case]]["list"]]
        for place in places:
            assert any(place in line for line in listed), (case, place, listed)
            assert place in text
    if corpus == "disfa":
        off = [problem["where"] for problem in problems[records.FRAME_COUNT]["list"]]
        assert off == ["SN002/left", "SN011/left"]


def test_the_report_counts_what_the_dataset_has(prepared):
    """Positives and known labels per fold and AU, beside what was published."""
    values = _report(prepared, "disfa")
    for split, fold in values["folds"].items():
        corpus = open_corpus("disfa", prepared, split)
        labels = np.stack([corpus.record(k)["labels"] for k in range(len(corpus))])
        assert fold["frames"] == len(labels)
        assert list(fold["positives"].values()) == (labels == 1).sum(0).tolist()
        assert list(fold["known"].values()) == (labels >= 0).sum(0).tolist()
        assert fold["published_frames"] == folds_lib.PUBLISHED_FRAMES["disfa"][int(split[-1])]
    assert values["published_rates"]["AU25"] == 0.278
    text = (prepared / "reports/disfa/report.txt").read_text()
    assert "130,311" in text and "0.278" in text and "a second, 1 workers, landmarks on disk" in text


def test_the_page_shows_faces(prepared):
    """An image with twelve faces, not an empty page."""
    with Image.open(prepared / "reports/bp4d/report.png") as page:
        pixels = np.asarray(page.convert("RGB"))
    assert pixels.shape[1] == 1400 and pixels.shape[0] > 900
    faces = pixels[560:]
    assert (np.ptp(faces, axis=2) > 30).mean() > 0.2, "skin is coloured"


def test_faces_labels_and_landmarks_belong_together(owners, prepared):
    """The k-th frame of the video, its line in the label files, and its landmarks, carried over."""
    mini = owners["disfa"]
    corpus = open_corpus("disfa", prepared, "fold_0")
    (one,) = [s for s in disfa.read(mini.root).sequences if s.subject == "SN001"]
    exact = np.load(mini.landmarks / "Videos_LeftCamera/LeftVideoSN001_comp.npy")
    own = [face for k in range(len(corpus)) if (face := corpus[k])["subject"] == "SN001"]
    assert [face["frame"] for face in own] == [1, 3, 4, 6, 7, 8]
    for face in own:
        np.testing.assert_array_equal(face["intensities"], one.intensities[face["frame"] - 1])
        np.testing.assert_array_equal(face["labels"], one.intensities[face["frame"] - 1] >= 2)
        eyes = face["landmarks"][36:48].mean(0)
        np.testing.assert_allclose(eyes[0], 128, atol=3)
        assert 110 < eyes[1] < 125
        shape, wanted = face["landmarks"], exact[face["frame"] - 1]
        scale = np.linalg.norm(shape[45] - shape[36]) / np.linalg.norm(wanted[45] - wanted[36])
        spread = np.linalg.norm(shape - shape.mean(0)) / np.linalg.norm(wanted - wanted.mean(0))
        np.testing.assert_allclose(spread, scale, rtol=1e-3)  # a similarity, so it is this frame's face
        dark = face["image"][tuple(np.rint(shape[[37, 38, 43, 44]]).astype(int).T[::-1])].mean()
        assert dark < face["image"][110:190, 100:156].mean(), "the upper lids are dark"


def test_several_processes_write_the_same_bytes(owners, prepared, tmp_path):
    """As one."""
    words = _words(owners["disfa"], tmp_path, "--workers", "2")
    assert prepare.main(["disfa", *words]) == 0
    assert _bytes(tmp_path, "disfa") == _bytes(prepared, "disfa")


class Killed(BaseException):
    """What stops the work half-way in a test."""


def test_stopped_half_way_it_goes_on_and_ends_with_the_same_bytes(owners, tmp_path, monkeypatch, prepared):
    """Within a video too, at whatever frame; nothing that opens is there before the end."""
    monkeypatch.setattr(sequence, "CHUNK", 3)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert prepare.main(["disfa", *_words(owners["disfa"], whole)]) == 0
    assert _bytes(whole, "disfa") == _bytes(prepared, "disfa"), "chunks leave no trace"
    real, calls, limits = sequence._prepare, [], [5, 8, 9, 20]

    def stops(shot, *rest):
        calls.append(shot.number)
        if limits and len(calls) == limits[0]:
            raise Killed
        return real(shot, *rest)

    monkeypatch.setattr(sequence, "_prepare", stops)
    while limits:
        with pytest.raises(Killed):
            prepare.main(["disfa", *_words(owners["disfa"], stopped)])
        assert not (stopped / "disfa/1.0.0").exists()
        limits.pop(0)
        calls.clear()
    assert prepare.main(["disfa", *_words(owners["disfa"], stopped)]) == 0
    assert len(calls) < 47, "what was done is not done again"
    assert _bytes(stopped, "disfa") == _bytes(whole, "disfa")
    assert not list((stopped / "disfa").glob(".work-*"))
    report, wanted = _report(stopped, "disfa"), _report(whole, "disfa")
    assert report["problems"] == wanted["problems"] and report["folds"] == wanted["folds"]


def _prepare_slowly(words):
    os.environ["OMP_NUM_THREADS"] = "1"
    prepare.main(words)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes where Linux lists them")
def test_killed_outright_it_goes_on(owners, tmp_path, prepared):
    """kill -9 in the middle; its workers end with it."""
    words = ["bp4d", *_words(owners["bp4d"], tmp_path, "--workers", "2")]
    process = multiprocessing.get_context("spawn").Process(target=_prepare_slowly, args=(words,))
    process.start()
    assert process.pid
    deadline = time.monotonic() + 60
    while not list((tmp_path / "bp4d").glob(".work-*/*/*/*.npz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) >= 2 and time.monotonic() < deadline, "workers wait for ever"
    assert prepare.main(words) == 0
    assert _bytes(tmp_path, "bp4d") == _bytes(prepared, "bp4d")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_so_and_goes_on(owners, tmp_path, prepared, number):
    """Status 130 and one line, no traceback of it or its workers; then the same bytes."""
    words = [sys.executable, "-m", "fgnet_jax.prepare", "bp4d", *_words(owners["bp4d"], tmp_path, "--workers", "2")]
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while not list((tmp_path / "bp4d").glob(".work-*/*/*/*.npz")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "interrupted; what is done stays, and the same command goes on"
    assert "Traceback" not in said
    assert prepare.main(words[3:]) == 0
    assert _bytes(tmp_path, "bp4d") == _bytes(prepared, "bp4d")


def test_prepared_again_nothing_is_done_and_nothing_else_is_reused(owners, prepared, tmp_path, capsys):
    """The same source and options find it there; others are refused, saying what differs."""
    before = {path: path.stat().st_mtime_ns for path in (prepared / "disfa").rglob("*.array_record*")}
    assert prepare.main(["disfa", *_words(owners["disfa"], prepared)]) == 0
    assert "is prepared already" in capsys.readouterr().err
    assert prepare.main(["disfa", *_words(owners["disfa"], prepared, "--threshold", "3")]) == 2
    message = capsys.readouterr().err
    assert (
        "was prepared from another source or with other options" in message
        and "threshold: 2 there, 3.0 here" in message
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
    assert prepare.main(["disfa", *_words(owners["disfa"], strict, "--threshold", "4", "--aus", "12,17,2")]) == 0
    corpus = open_corpus("disfa", strict, "+".join(SPLITS))
    assert corpus.aus == (12, 17, 2)
    for k in range(len(corpus)):
        record = corpus.record(k)
        np.testing.assert_array_equal(record["labels"], record["intensities"] >= 4)
    features: Any = tfds.builder("disfa", data_dir=str(strict)).info.features
    assert features["labels"].shape == (3,)
    dropped = tmp_path / "dropped"
    assert prepare.main(["bp4d", *_words(owners["bp4d"], dropped, "--unknown", "drop")]) == 0
    assert _report(dropped, "bp4d")["faces"] == sum(owners["bp4d"].usable.values()) - 1


def test_a_partition_file_replaces_the_folds(owners, tmp_path):
    """Subjects that it lacks are left out, and reported."""
    folds = tmp_path / "folds.json"
    folds.write_text('[["SN004"], ["SN001", "SN006"], ["SN002"]]')
    assert prepare.main(["disfa", *_words(owners["disfa"], tmp_path / "d", "--partition", str(folds))]) == 0
    people = [set(open_corpus("disfa", tmp_path / "d", split).subjects()) for split in SPLITS]
    assert people == [{"SN004"}, {"SN001", "SN006"}, {"SN002"}]
    left = [problem["where"] for problem in _report(tmp_path / "d", "disfa")["problems"][records.NO_FOLD]["list"]]
    assert left == ["SN003", "SN011"]


def test_dlib_finds_faces_and_says_its_terms(owners, tmp_path, capsys):
    """Without landmarks on disk: detected again on the aligned face, and how far from those carried over."""
    root = tmp_path / "DISFA"
    for name in ("Videos_LeftCamera/LeftVideoSN001_comp.avi", "ActionUnit_Labels/SN001"):
        source, target = owners["disfa"].root / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    words = ["disfa", "--source", str(root), "--workers", "1"]
    assert prepare.main([*words, "--data_dir", str(tmp_path / "again")]) == 0
    said = capsys.readouterr()
    assert "excludes commercial use" in said.err
    assert "landmarks detected again lie 0.0" in said.out and "stored: again" in said.out
    assert "fold_1 has no face, so there is no such split" in said.out
    apart = _report(tmp_path / "again", "disfa")["landmarks_apart"]
    assert apart["faces"] == 6 and 0.005 < apart["mean"] < 0.1
    assert prepare.main([*words, "--data_dir", str(tmp_path / "carried"), "--aligned_landmarks", "carried"]) == 0
    pair = [open_corpus("disfa", tmp_path / name, "fold_0")[0]["landmarks"] for name in ("again", "carried")]
    assert 0 < np.abs(pair[0] - pair[1]).mean() < 8
    no_face = _report(tmp_path / "again", "disfa")["problems"][records.NO_FACE]["list"]
    assert [problem["where"] for problem in no_face] == ["SN001/left frame 2", "SN001/left frame 5"]


def test_mistakes_stop_before_any_work(owners, tmp_path, capsys):
    """Wrong folders, landmarks of something else, a missing predictor: status 2 and what was looked for."""
    data = tmp_path / "data"
    mini = owners["disfa"]
    cases = [
        (["disfa", "--source", str(owners["bp4d"].root)], "SN001_au1.txt; there is: AUCoding, Sequences(2D+3D)"),
        (["bp4d", "--source", str(mini.root)], "AUCoding/AU_OCC/F001_T1.csv; there is: ActionUnit_Labels"),
        (["fgnet", "--source", str(mini.root)], "is a folder BP4D or DISFA with aligned_images and labels in it"),
        (["disfa", "--source", str(mini.root), "--landmarks", str(tmp_path)], "no landmarks of disfa are in"),
        (["disfa", "--source", str(mini.root), "--predictor", "no.dat"], "no predictor file no.dat"),
        (["csv", "--name", "Mine!", "--source", str(tmp_path)], "must hold one table, *.csv"),
    ]
    for words, message in cases:
        assert prepare.main([*words, "--data_dir", str(data)]) == 2
        assert message in capsys.readouterr().err
    assert not data.exists()
    for words in (["disfa", "--aus", "1,99"], ["bp4d", "--unknown", "maybe"], ["disfa", "--workers", "0"], ["x"], []):
        with pytest.raises(SystemExit) as ended:
            prepare.main([*words, "--source", "x", "--data_dir", "y"] if words else [])
        assert ended.value.code == 2


@pytest.mark.parametrize(("library", "extra"), [("cv2", "faces"), ("av", "video")])
def test_a_missing_library_stops_before_any_work(owners, tmp_path, capsys, monkeypatch, library, extra):
    """With what to install; images need no PyAV."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == library else real(name, *a))
    assert prepare.main(["disfa", *_words(owners["disfa"], tmp_path / "data")]) == 2
    assert f"pip install 'fgnet_jax[{extra}]'" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_corpus_without_a_face_is_no_dataset(owners, tmp_path, capsys):
    """Status 1, and the report says why."""
    landmarks = tmp_path / "landmarks"
    shutil.copytree(owners["disfa"].landmarks, landmarks)
    for path in landmarks.rglob("*.npy"):
        np.save(path, np.full_like(np.load(path), np.nan))
    words = ["--source", str(owners["disfa"].root), "--landmarks", str(landmarks), "--workers", "1"]
    assert prepare.main(["disfa", *words, "--data_dir", str(tmp_path / "data")]) == 1
    assert "no face of disfa could be prepared" in capsys.readouterr().err
    assert _report(tmp_path / "data", "disfa")["faces"] == 0
    assert not (tmp_path / "data/disfa/1.0.0").exists()


def test_miniatures_are_what_the_readers_expect(owners):
    """All subjects and labelled frames are found."""
    for corpus, read in (("disfa", disfa.read), ("bp4d", bp4d.read)):
        what = read(Path(owners[corpus].root))
        assert what.aus == CORPUS_AUS[corpus]
        counts = dict.fromkeys(owners[corpus].labelled, 0)
        for one in what.sequences:
            counts[one.subject] += len(one.frames)
        bad = 6 if corpus == "bp4d" else 0
        assert sum(counts.values()) == sum(owners[corpus].labelled.values()) - bad
