"""DISFA's folders: files in every spelling, lines by number, problems by file and line."""

import numpy as np
import pytest

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds
from fgnet_jax.prepare.layouts import disfa, records
from fgnet_jax.prepare.layouts.records import FileError, LayoutError


def _labels(root, subject="SN001", frames=4, aus=disfa.CODED, folder="ActionUnit_Labels", pattern="{s}_au{au}.txt"):
    for au in aus:
        path = root / folder / subject / pattern.format(s=subject, au=au)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{k},{(k + au) % 6}\n" for k in range(1, frames + 1)))


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def _kinds(corpus):
    return [(problem.kind, problem.where) for problem in corpus.problems]


def test_labels_by_name_and_threshold(tmp_path):
    """Columns are the chosen AUs in their order, present from intensity 2 on, with their intensities."""
    _labels(tmp_path)
    _touch(tmp_path, "Videos_LeftCamera/LeftVideoSN001_comp.avi")
    corpus = disfa.read(tmp_path)
    (sequence,) = corpus.sequences
    assert (corpus.aus, sequence.subject, sequence.name, sequence.fold) == (CORPUS_AUS["disfa"], "SN001", "left", 0)
    assert (
        sequence.frames.tolist() == [1, 2, 3, 4]
        and sequence.video == tmp_path / "Videos_LeftCamera/LeftVideoSN001_comp.avi"
    )
    expected = np.array([[(k + au) % 6 for au in CORPUS_AUS["disfa"]] for k in range(1, 5)])
    np.testing.assert_array_equal(sequence.intensities, expected)
    np.testing.assert_array_equal(sequence.labels, expected >= 2)
    (strict,) = disfa.read(tmp_path, threshold=4, aus=(25, 5)).sequences
    np.testing.assert_array_equal(strict.labels, np.array([[(k + au) % 6 >= 4 for au in (25, 5)] for k in range(1, 5)]))


@pytest.mark.parametrize(
    "name",
    [
        "Videos_LeftCamera/LeftVideoSN001_comp.avi",
        "Video_LeftCamera/LeftVideoSN001_Comp.avi",
        "videos_leftcamera/leftvideosn001_comp.AVI",
        "deep/er/LeftVideoSN001.mp4",
    ],
)
def test_videos_in_every_spelling(tmp_path, name):
    """Case, plural and folder do not matter; the right camera's video is not used."""
    _labels(tmp_path)
    _touch(tmp_path, name, "Video_RightCamera/RightVideoSN001_Comp.avi")
    assert disfa.read(tmp_path).sequences[0].video == tmp_path / name
    (right,) = disfa.read(tmp_path, camera="right").sequences
    assert right.name == "right" and right.video == tmp_path / "Video_RightCamera/RightVideoSN001_Comp.avi"


@pytest.mark.parametrize(("pattern", "first"), [("{:05d}.jpg", 1), ("{:d}.PNG", 1), ("{:04d}.jpeg", 0)])
def test_extracted_frames_by_number(tmp_path, pattern, first):
    """With any padding; numbered from 0 they are the same frames, and the report says so."""
    _labels(tmp_path, frames=12)
    stem = "Left_frames/LeftVideoSN001_comp/LeftVideoSN001_comp_"
    _touch(tmp_path, *(stem + pattern.format(k + first) for k in range(12)))
    corpus = disfa.read(tmp_path)
    (sequence,) = corpus.sequences
    assert sorted(sequence.images) == list(range(1, 13)) and sequence.video is None
    assert sequence.images[12].name.endswith(pattern.format(11 + first))
    assert _kinds(corpus) == ([(records.FRAME_COUNT, "SN001")] if first == 0 else [])


def test_label_files_in_other_spellings(tmp_path):
    """Case and zeros in the AU's number."""
    _labels(tmp_path, folder="actionunit_labels", pattern="{s}_AU{au:02d}.TXT")
    _touch(tmp_path, "LeftVideoSN001_comp.avi")
    assert len(disfa.read(tmp_path).sequences[0].frames) == 4


def test_mismatches_are_reported(tmp_path):
    """Labels without a video, a video without labels, a subject without a fold, two videos, a missing label file."""
    for subject in ("SN001", "SN002", "SN014"):
        _labels(tmp_path, subject)
    (tmp_path / "ActionUnit_Labels/SN001/SN001_au9.txt").unlink()
    _touch(tmp_path, "a/LeftVideoSN001_comp.avi", "b/LeftVideoSN001_comp.avi", "a/LeftVideoSN003_comp.avi")
    _touch(tmp_path, "a/LeftVideoSN014_comp.avi")
    corpus = disfa.read(tmp_path)
    assert [sequence.subject for sequence in corpus.sequences] == ["SN001"]
    assert (corpus.sequences[0].labels[:, CORPUS_AUS["disfa"].index(9)] == -1).all()
    assert set(_kinds(corpus)) == {
        (records.AMBIGUOUS, "SN001"),
        (records.BAD_FILE, "SN001_au9.txt"),
        (records.NO_IMAGE, "SN002"),
        (records.NO_LABEL, "SN003"),
        (records.NO_FOLD, "SN014"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,0\n2,6\n", "line 2: expected frame,intensity with an intensity of 0 to 5, got '2,6'"),
        ("1,0\n\nx\n", "line 3: expected frame,intensity"),
        ("1,0\n1,0\n", "line 2: frame 1 comes twice"),
        ("0,1\n", "line 1: expected frame,intensity"),
        ("", "has no line"),
        ("1,2,3\n", "line 1"),
    ],
)
def test_a_bad_label_file_is_named_by_line(tmp_path, text, message):
    """It makes its AU unknown, and stops nothing."""
    _labels(tmp_path)
    _touch(tmp_path, "LeftVideoSN001_comp.avi")
    bad = tmp_path / "ActionUnit_Labels/SN001/SN001_au4.txt"
    bad.write_text(text)
    with pytest.raises(FileError, match=message):
        disfa.read_intensities(bad)
    corpus = disfa.read(tmp_path)
    ((kind, where),) = _kinds(corpus)
    assert (kind, where) == (records.BAD_FILE, str(bad)) and "this AU is unknown" in corpus.problems[0].detail
    assert (corpus.sequences[0].labels[:, 2] == -1).all() and (corpus.sequences[0].labels[:, :2] >= 0).all()


def test_missing_lines_are_unknown(tmp_path):
    """Lines are identified by their number; Windows line ends and spaces do not matter."""
    _labels(tmp_path)
    (tmp_path / "ActionUnit_Labels/SN001/SN001_au1.txt").write_bytes(b"\xef\xbb\xbf2, 3\r\n4,0\r\n")
    _touch(tmp_path, "LeftVideoSN001_comp.avi")
    corpus = disfa.read(tmp_path)
    assert corpus.sequences[0].labels[:, 0].tolist() == [-1, 1, -1, 0]
    assert corpus.problems[0].kind == records.FRAME_COUNT and "2 of 4 lines are missing" in corpus.problems[0].detail


def test_a_wrong_folder_is_refused(tmp_path):
    """With what was not found and what the folder has."""
    with pytest.raises(LayoutError, match="no folder .*nowhere"):
        disfa.read(tmp_path / "nowhere")
    _touch(tmp_path, "Sequences/F001/T1/0001.jpg")
    with pytest.raises(LayoutError, match="is a label file ActionUnit_Labels/SN001/SN001_au1.txt; there is: Sequences"):
        disfa.read(tmp_path)
    _labels(tmp_path, aus=(1, 2, 4))
    with pytest.raises(LayoutError, match="no label file of AU 6, 9, 12, 25, 26: looked for SN001_au6.txt"):
        disfa.read(tmp_path)
    _labels(tmp_path)
    with pytest.raises(
        LayoutError, match="left video Videos_LeftCamera/LeftVideoSN001_comp.avi of a subject with labels"
    ):
        disfa.read(tmp_path)


def test_a_custom_partition(tmp_path):
    """Replaces the published folds; broken ones are refused."""
    _labels(tmp_path)
    _labels(tmp_path, "SN014")
    _touch(tmp_path, "LeftVideoSN001_comp.avi", "LeftVideoSN014_comp.avi")
    file = tmp_path / "folds.json"
    file.write_text('[["SN014"], ["SN002"], ["SN001"]]')
    corpus = disfa.read(tmp_path, partition=records.read_partition(file))
    assert [(sequence.subject, sequence.fold) for sequence in corpus.sequences] == [("SN014", 0), ("SN001", 2)]
    for text, message in (
        ('[["SN001"], ["SN002"]]', "is of another form: expected 3 lists"),
        ('[["SN001"], ["SN001"], ["SN003"]]', "has SN001 more than once"),
        ("{", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(LayoutError, match=message):
            records.read_partition(file)


def test_order_is_by_fold_and_the_partitions_order(tmp_path):
    """Whatever the order of the folder's listing."""
    for subject in ("SN003", "SN032", "SN001", "SN006", "SN002"):
        _labels(tmp_path, subject)
        _touch(tmp_path, f"LeftVideo{subject}_comp.avi")
    assert [sequence.subject for sequence in disfa.read(tmp_path).sequences] == [
        "SN001",
        "SN002",
        "SN032",
        "SN006",
        "SN003",
    ]
    assert records.standard_partition("disfa")["SN032"] == folds.fold_of("disfa", "SN032") == 0
