"""Sequences: faces, labels and landmarks belong together, also where the work was stopped and resumed."""

import dataclasses
import shutil
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.data.corpus import open_corpus
from fgnet_jax.faces.detection import DETECTORS, Face
from fgnet_jax.prepare import __main__ as prepare
from fgnet_jax.prepare import sequence
from fgnet_jax.prepare.layouts import disfa, records
from fgnet_jax.prepare.sequence import PrepareSettings
from tests.media import numbered
from tests.media.test_display import CORNERS, write
from tests.prepare.corpora import arguments, dataset_bytes, report_of


def test_faces_labels_and_landmarks_belong_together(owners, prepared):
    """The k-th frame of the video, its line in the label files, and its landmarks carried over."""
    mini = owners["disfa"]
    corpus = open_corpus("disfa", prepared, "fold_0")
    (labelled,) = [s for s in disfa.read(mini.root).sequences if s.subject == "SN001"]
    exact = np.load(mini.landmarks / "Videos_LeftCamera/LeftVideoSN001_comp.npy")
    faces = [face for k in range(len(corpus)) if (face := corpus[k])["subject"] == "SN001"]
    assert [face["frame"] for face in faces] == [1, 3, 4, 6, 7, 8]
    for face in faces:
        np.testing.assert_array_equal(face["intensities"], labelled.intensities[face["frame"] - 1])
        np.testing.assert_array_equal(face["labels"], labelled.intensities[face["frame"] - 1] >= 2)
        eyes = face["landmarks"][36:48].mean(0)
        np.testing.assert_allclose(eyes[0], 128, atol=3)
        assert 110 < eyes[1] < 125
        shape, expected = face["landmarks"], exact[face["frame"] - 1]
        scale = np.linalg.norm(shape[45] - shape[36]) / np.linalg.norm(expected[45] - expected[36])
        size = np.linalg.norm(shape - shape.mean(0)) / np.linalg.norm(expected - expected.mean(0))
        np.testing.assert_allclose(size, scale, rtol=1e-3)  # a similarity, so it is this frame's face
        dark = face["image"][tuple(np.rint(shape[[37, 38, 43, 44]]).astype(int).T[::-1])].mean()
        assert dark < face["image"][110:190, 100:156].mean(), "the upper lids are dark"


class Killed(BaseException):
    """Stops the work half-way in a test."""


def test_stopped_work_is_resumed_and_gives_the_same_bytes(owners, tmp_path, monkeypatch, prepared):
    """Also within a video, at any frame; there is no dataset that opens before the end."""
    monkeypatch.setattr(sequence, "CHUNK", 3)
    at_once, stopped = tmp_path / "at_once", tmp_path / "stopped"
    assert prepare.main(["disfa", *arguments(owners["disfa"], at_once)]) == 0
    assert dataset_bytes(at_once, "disfa") == dataset_bytes(prepared, "disfa"), "chunks leave no trace"
    real, calls, stops_at = sequence._prepare, [], [5, 8, 9, 20]

    def stops(frame, *rest):
        calls.append(frame.number)
        if stops_at and len(calls) == stops_at[0]:
            raise Killed
        return real(frame, *rest)

    monkeypatch.setattr(sequence, "_prepare", stops)
    while stops_at:
        with pytest.raises(Killed):
            prepare.main(["disfa", *arguments(owners["disfa"], stopped)])
        assert not (stopped / "disfa/1.0.0").exists()
        stops_at.pop(0)
        calls.clear()
    assert prepare.main(["disfa", *arguments(owners["disfa"], stopped)]) == 0
    assert len(calls) < 47, "finished chunks are not prepared again"
    assert dataset_bytes(stopped, "disfa") == dataset_bytes(at_once, "disfa")
    assert not list((stopped / "disfa").glob(".work-*"))
    report, expected = report_of(stopped, "disfa"), report_of(at_once, "disfa")
    assert report["problems"] == expected["problems"] and report["folds"] == expected["folds"]


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg4", ".avi"), ("libx264", ".mp4"), ("libx264", ".mkv")])
def test_labels_after_a_damaged_place_are_those_of_their_frames(tmp_path, codec, suffix):
    """By the file's index or times; where these do not tell, the rest is left out, and the report says so."""
    labels = np.arange(1, 61, dtype=np.int32)
    left_out = 0
    for seed in range(16):
        path = tmp_path / f"video{suffix}"
        numbered.write(path, codec)
        numbered.damage(path, seed)
        labelled = _labelled(path, labels)
        problems, row = [], -1
        for frame in sequence._frames(labelled, 0, problems):
            row = frame.row
            if frame.image is not None:
                assert numbered.read_number(frame.image) in (labels[frame.row], None), (seed, frame.number)
            else:
                assert frame.reason == "damaged or lost frame; later ones keep their own labels"
        lost = [problem for problem in problems if problem.kind == records.LOST]
        assert all("the rest of the sequence is left out" in problem.detail for problem in lost)
        assert not lost or lost[0].count == 60 - row - 1
        left_out += len(lost)
    assert (left_out > 0) == (suffix == ".mkv")


def _labelled(path, frames):
    """Return a sequence whose frames have some labels."""
    return records.LabelledSequence(
        subject="SN001",
        name="left",
        fold=0,
        frames=frames,
        labels=np.zeros((len(frames), 1), np.int8),
        intensities=np.zeros((len(frames), 1), np.float32),
        video=path,
    )


def test_frames_are_prepared_as_they_are_shown(tmp_path):
    """Upright, with square pixels; landmarks of such a video, measured on who knows which pixels, are refused."""
    turned = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    write(tmp_path / "plain.mp4", CORNERS)
    write(tmp_path / "wide.mp4", CORNERS, aspect=Fraction(4, 3))
    write(tmp_path / "turned.mp4", CORNERS, matrix=turned)
    settings = PrepareSettings(None, landmarks=tmp_path, root=tmp_path, aligned_landmarks=sequence.CARRIED)
    shapes, faces = {}, {}
    for name in ("plain", "wide", "turned"):
        labelled = _labelled(tmp_path / f"{name}.mp4", np.arange(1, 6, dtype=np.int32))
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).uniform(0, 60, (5, 68, 2)))
        frame = next(sequence._frames(labelled, 0, []))
        shapes[name], faces[name] = sequence._image(frame).shape, sequence._face_lookup(labelled, settings)(frame)
    assert shapes == {"plain": (64, 96, 3), "wide": (64, 128, 3), "turned": (96, 64, 3)}
    assert isinstance(faces["plain"], Face)
    assert all("convert it first" in str(faces[name]) for name in ("wide", "turned"))


def test_a_row_has_a_file_of_one_image(tmp_path):
    """Its first page or frame would else be taken for those of all rows; the reason says what was expected."""
    shades = [Image.new("L", (64, 48), shade) for shade in (10, 90, 200)]
    shades[0].save(tmp_path / "one.tif")
    shades[0].save(tmp_path / "pages.tif", save_all=True, append_images=shades[1:])
    shades[0].save(tmp_path / "animation.gif", save_all=True, append_images=shades[1:])
    numbered.write(tmp_path / "video.avi", "mpeg4", count=3)
    (tmp_path / "text.png").write_bytes(b"text")
    names = ["one.tif", "pages.tif", "animation.gif", "video.avi", "text.png"]
    files = {number: tmp_path / name for number, name in enumerate(names, start=1)}
    labelled = dataclasses.replace(_labelled(None, np.arange(1, 6, dtype=np.int32)), images=files)
    one, *others = sequence._frames(labelled, 0, [])
    assert one.image is not None and all(frame.image is None for frame in others)
    begins = ("a file of several pages: each row needs", "an animation: each", "a video: each", "not an image in a")
    assert all(frame.reason.startswith(begin) for frame, begin in zip(others, begins, strict=True))
    settings = PrepareSettings(None, landmarks=None, root=tmp_path, aligned_landmarks=sequence.CARRIED)
    problem = sequence._prepare(others[0], labelled, settings, lambda frame: "no face")
    assert isinstance(problem, records.Problem) and problem.kind == records.UNREADABLE
    assert problem.detail.startswith(f"{tmp_path / 'pages.tif'}: a file of several pages")


def test_labels_of_joined_recordings_end_where_the_second_begins(tmp_path):
    """How many frames are missing in between is not known; the report says so."""
    numbered.write(tmp_path / "one.ts", "libx264", max_b_frames=2)
    (tmp_path / "joined.ts").write_bytes(2 * (tmp_path / "one.ts").read_bytes())
    problems = []
    labelled = _labelled(tmp_path / "joined.ts", np.arange(1, 121, dtype=np.int32))
    frames = list(sequence._frames(labelled, 0, problems))
    assert 50 < len(frames) <= 60
    for frame in frames[:50]:
        assert numbered.read_number(sequence._image(frame)) == frame.row + 1
    assert [(problem.kind, problem.count) for problem in problems] == [(records.LOST, 120 - len(frames))]
    assert "joined from several recordings" in problems[0].detail


def test_dlib_finds_faces_and_its_licence_is_reported(owners, tmp_path, capsys):
    """Without landmarks on disk: detected again on the aligned face, and their distance from those carried over."""
    root = tmp_path / "DISFA"
    for name in ("Videos_LeftCamera/LeftVideoSN001_comp.avi", "ActionUnit_Labels/SN001"):
        source, target = owners["disfa"].root / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    words = ["disfa", "--source", str(root), "--workers", "1"]
    assert prepare.main([*words, "--data_dir", str(tmp_path / "again")]) == 0
    printed = capsys.readouterr()
    assert "excludes commercial use" in printed.err
    assert "landmarks detected again lie 0.0" in printed.out and "stored: again" in printed.out
    assert "fold_1 has no face, so there is no such split" in printed.out
    distances = report_of(tmp_path / "again", "disfa")["landmarks_apart"]
    assert distances["faces"] == 6 and 0.005 < distances["mean"] < 0.1
    assert prepare.main([*words, "--data_dir", str(tmp_path / "carried"), "--aligned_landmarks", "carried"]) == 0
    pair = [open_corpus("disfa", tmp_path / name, "fold_0")[0]["landmarks"] for name in ("again", "carried")]
    assert 0 < np.abs(pair[0] - pair[1]).mean() < 8
    for detector in DETECTORS:
        more = ["--detector", detector, "--search", "largest"]
        assert prepare.main([*words, "--data_dir", str(tmp_path / f"largest {detector}"), *more]) == 0
        assert report_of(tmp_path / f"largest {detector}", "disfa")["landmarks_apart"]["faces"] == 6
    capsys.readouterr()
    assert prepare.main([*words, "--data_dir", str(tmp_path / "yunet"), "--detector", "yunet"]) == 0
    assert "faces are detected by yunet, landmarks placed by dlib's predictor. Note:" in capsys.readouterr().err
    assert report_of(tmp_path / "yunet", "disfa")["landmarks_apart"]["faces"] == 6
    no_face = report_of(tmp_path / "again", "disfa")["problems"][records.NO_FACE]["list"]
    assert [problem["where"] for problem in no_face] == ["SN001/left frame 2", "SN001/left frame 5"]
