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
    assert [p.count for p in corpus.problems if p.kind == records.NO_FOLD] == [4]


def _label_file(root, au=4, subject="SN001"):
    return root / f"ActionUnit_Labels/{subject}/{subject}_au{au}.txt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,6\nx\n3,0\n", "2 of 3 lines cannot be read; line 1: expected frame,intensity with an intensity of 0 to 5"),
        ("0,1\n1,1\n", "line 1: expected frame,intensity with frames from 1, got '0,1'"),
        ("", "has no line"),
        ("1,2,3\n", "1 of 1 lines cannot be read; line 1: .*got '1,2,3'"),
        ("\0\1", "cannot be read as text"),
    ],
)
def test_a_bad_label_file_is_named_by_line(tmp_path, text, message):
    """It makes its AU unknown, for as many frames as the report counts, and stops nothing."""
    _labels(tmp_path)
    _touch(tmp_path, "LeftVideoSN001_comp.avi")
    bad = _label_file(tmp_path)
    bad.write_text(text)
    with pytest.raises(FileError, match=message):
        disfa.read_intensities(bad)
    corpus = disfa.read(tmp_path)
    (problem,) = corpus.problems
    assert (problem.kind, problem.where, problem.count) == (records.BAD_FILE, str(bad), 4)
    assert "this AU is unknown" in problem.detail
    assert (corpus.sequences[0].labels[:, 2] == -1).all() and (corpus.sequences[0].labels[:, :2] >= 0).all()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("3,x", "expected frame,intensity with an intensity of 0 to 5, got '3,x': frame 3 is unknown"),
        ("3,6", "got '3,6': frame 3 is unknown"),
        ("3", "got '3'"),
        ("?,0", "got '?,0'"),
        ("3,\0", "frame 3 is unknown"),
    ],
)
def test_a_bad_line_costs_one_frame_of_its_au(tmp_path, line, reason):
    """Which is named by file and line, and counted; the other lines keep their frames."""
    _labels(tmp_path, frames=8)
    _touch(tmp_path, "LeftVideoSN001_comp.avi")
    (clean,) = disfa.read(tmp_path).sequences
    bad = _label_file(tmp_path)
    lines = bad.read_text().splitlines()
    bad.write_text("\n".join([*lines[:2], line, *lines[3:]]))
    corpus = disfa.read(tmp_path)
    (problem,) = corpus.problems
    assert (problem.kind, problem.where, problem.count) == (records.BAD_LINE, f"{bad} line 3", 1)
    assert reason in problem.detail
    expected = clean.labels.copy()
    expected[2, CORPUS_AUS["disfa"].index(4)] = -1
    np.testing.assert_array_equal(corpus.sequences[0].labels, expected)
    assert corpus.sequences[0].intensities[2, 2] == -1


def test_a_frame_that_comes_twice_is_unknown_if_its_lines_differ(tmp_path):
    """Equal lines are one."""
    _labels(tmp_path, frames=8)
    _touch(tmp_path, "LeftVideoSN001_comp.avi")
    file = _label_file(tmp_path)
    file.write_text(file.read_text() + "2,0\n3,0\n")
    corpus = disfa.read(tmp_path)
    column = corpus.sequences[0].intensities[:, 2].tolist()
    assert column == [5, 0, -1, 2, 3, 4, 5, 0]
    (problem,) = corpus.problems
    assert problem.where == f"{file} line 10" and "frame 3 comes twice, line 3 is another" in problem.detail


def test_many_bad_lines_are_counted(tmp_path):
    """The first are listed, and the numbers of the others."""
    _labels(tmp_path, frames=40)
    _touch(tmp_path, "LeftVideoSN001_comp.avi")
    file = _label_file(tmp_path)
    file.write_text(file.read_text().replace(",5", ",?"))
    problems = disfa.read(tmp_path).problems
    assert [p.count for p in problems] == [1, 1, 1, 1, 1, 2] and {p.kind for p in problems} == {records.BAD_LINE}
    assert problems[-1].where == str(file) and problems[-1].detail.startswith("2 more lines, 31, 37; the first: ")


@pytest.mark.parametrize(
    "content",
    [
        "frame,intensity\n1,2.0\n2,0.0\n3,5.\n4,1\n",
        "1;2\r\n2;0\r\n3;5\r\n4;1\r\n",
        "1.0\t2\n2.0\t0\n3.0\t5\n4.0\t1\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_label_files_of_other_programs(tmp_path, content, encoding):
    """With a header, codes such as 2.0, semicolons or tabs, in UTF-16."""
    file = tmp_path / "SN001_au1.txt"
    file.write_bytes(content.encode(encoding))
    assert disfa.read_intensities(file) == ({1: 2, 2: 0, 3: 5, 4: 1}, [], 0)


@pytest.mark.parametrize("name", ["Images/SN001/{:05d}.jpg", "Left/SN001/{}.png", "Images/SN001_{:d}.jpg"])
def test_frames_that_were_extracted_anew(tmp_path, name):
    """In folders of subjects, without the video's name; by the camera that the path names, if it names one."""
    _labels(tmp_path)
    _touch(tmp_path, *(name.format(k) for k in range(1, 5)), *(f"Right/SN001/{k}.jpg" for k in range(1, 9)))
    corpus = disfa.read(tmp_path)
    (sequence,) = corpus.sequences
    assert {n: str(p.relative_to(tmp_path)) for n, p in sequence.images.items()} == {
        k: name.format(k) for k in range(1, 5)
    }
    assert corpus.problems == () and disfa.read(tmp_path, camera="right").sequences[0].images.keys() == set(range(1, 9))


def test_frames_of_the_owners_names_come_first(tmp_path):
    """Before those of other folders; two folders whose names say nothing are refused."""
    _labels(tmp_path)
    _touch(tmp_path, "Images/SN001/00001.jpg", "Masks/SN001/00001.jpg")
    with pytest.raises(LayoutError, match="images of SN001 in .*Images/SN001 and in .*: name .* LeftVideoSN001_comp"):
        disfa.read(tmp_path)
    _touch(tmp_path, *(f"LeftVideoSN001_comp/LeftVideoSN001_comp_0000{k}.jpg" for k in range(1, 5)))
    corpus = disfa.read(tmp_path)
    assert {path.parent.name for path in corpus.sequences[0].images.values()} == {"LeftVideoSN001_comp"}
    assert corpus.problems == ()


def test_labels_of_one_side_are_refused_with_the_name_they_should_have(tmp_path):
    """They are not dropped, nor taken for the AU."""
    _labels(tmp_path)
    _labels(tmp_path, "SN002")
    _touch(tmp_path, "LeftVideoSN001_comp.avi", "LeftVideoSN002_comp.avi")
    file = _label_file(tmp_path, 12)
    file.rename(file.with_name("SN001_au12L.txt"))
    corpus = disfa.read(tmp_path)
    (problem,) = corpus.problems
    assert (problem.kind, problem.where, problem.count) == (records.BAD_FILE, "SN001_au12.txt", 4)
    assert "SN001_au12L.txt not read: expected the name SN001_au12.txt" in problem.detail
    assert corpus.notes == ("not read, expected names like SN001_au12.txt: ActionUnit_Labels/SN001/SN001_au12L.txt",)
    _label_file(tmp_path, 12, "SN002").unlink()
    with pytest.raises(
        LayoutError, match=r"no label file of AU 12: looked for SN001_au12.txt … \(not read: .*au12L.txt"
    ):
        disfa.read(tmp_path)


def test_linked_folders_are_read(tmp_path):
    """Of a video server; a video that is found twice through links is one."""
    nas = tmp_path / "nas"
    root = tmp_path / "DISFA"
    _labels(root)
    _touch(nas, "videos/LeftVideoSN001_comp.avi")
    (root / "Videos_LeftCamera").symlink_to(nas / "videos")
    (root / "Video_LeftCamera").symlink_to(nas / "videos")
    (root / "ActionUnit_Labels/all").symlink_to(root)
    corpus = disfa.read(root)
    assert corpus.sequences[0].video == root / "Video_LeftCamera/LeftVideoSN001_comp.avi" and corpus.problems == ()
    (root / "Video_LeftCamera").unlink()
    (nas / "videos").rename(nas / "moved")
    with pytest.raises(LayoutError, match="Videos_LeftCamera \\(a link to .*nas/videos, which is not there\\)"):
        disfa.read(root)


def test_another_corpus_is_not_disfa(tmp_path):
    """DISFA+, by its trials or its folder; a corpus of other subjects, which has its own name and partition."""
    for subject in ("SN001", "SN040", "SN041"):
        _labels(tmp_path, subject)
        _touch(tmp_path, f"LeftVideo{subject}_comp.avi")
    with pytest.raises(
        LayoutError, match="is not DISFA: 2 of its 3 subjects .* SN040, SN041; .*--name my_corpus --part"
    ):
        disfa.read(tmp_path)
    with pytest.raises(LayoutError, match="--name mine needs --partition"):
        disfa.read(tmp_path, name="mine")
    with pytest.raises(LayoutError, match="--name bp4d: that corpus has a layout of its own"):
        disfa.read(tmp_path, name="bp4d", partition={})
    corpus = disfa.read(tmp_path, name="mine", partition={"SN001": 2, "SN040": 1, "SN041": 0})
    assert corpus.name == "mine" and [s.subject for s in corpus.sequences] == ["SN041", "SN040", "SN001"]
    _touch(tmp_path / "plus", "Labels/SN001/A1_AU1_TrailNo_1/AU1.txt")
    with pytest.raises(LayoutError, match="is not DISFA but DISFA\\+, .*: it has trials, Labels/SN001/A1"):
        disfa.read(tmp_path / "plus")


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
        ('[["SN001"], "SN002"]', "is of another form: expected 3 lists"),
        ('[["SN001"], ["SN002"]]', "has 2 lists: expected 3 lists.*give the corpus a --name of its own"),
        ('[["SN001"], ["SN001"], ["SN003"]]', "has SN001 more than once"),
        ("{", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(LayoutError, match=message):
            records.read_partition(file, num_folds=3)


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
