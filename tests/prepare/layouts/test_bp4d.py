"""BP4D's folders: images by number, codes by the header's AUs, 9 by the option, problems by file and line."""

import numpy as np
import pytest

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.prepare.layouts import bp4d, bp4d_codes, records
from fgnet_jax.prepare.layouts.records import FileError, LayoutError

AUS = CORPUS_AUS["bp4d"]


HEADER = (0, 28, *reversed(AUS), 5)


def _codes(root, name="F001_T1", frames=range(10, 14), header=HEADER, codes=None):
    path = root / f"AUCoding/AU_OCC/{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [header]
    for frame in frames:
        rows.append((frame, *((codes or {}).get((frame, au), (frame + au) % 2) for au in header[1:])))
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


def _images(root, *numbers, folder="Sequences(2D+3D)/F001/T1"):
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (root / folder / f"{number}.jpg").write_bytes(b"x")


def test_columns_are_read_by_their_header(tmp_path):
    """In any order, and beside other AUs."""
    _codes(tmp_path)
    _images(tmp_path, "0010", "0011", "0012", "0013")
    (sequence,) = bp4d.read(tmp_path).sequences
    assert (sequence.subject, sequence.name, sequence.fold, sequence.frames.tolist()) == (
        "F001",
        "T1",
        0,
        [10, 11, 12, 13],
    )
    np.testing.assert_array_equal(sequence.labels, [[(frame + au) % 2 for au in AUS] for frame in range(10, 14)])
    assert (sequence.intensities == -1).all()


@pytest.mark.parametrize("folder", ["Sequences(2D+3D)", "2D+3D", "sequences(2d+3d)", "BP4D/Sequences(2D+3D)_part2"])
def test_images_are_matched_by_their_number(tmp_path, folder):
    """Padded to 3, 4 or 5 digits within a sequence; other folders' images are not taken."""
    _codes(tmp_path)
    _images(tmp_path, "010", "0011", "00012", "13", folder=f"{folder}/F001/T1")
    _images(tmp_path, "0010", folder="Thermal/F001/T1")
    (sequence,) = bp4d.read(tmp_path).sequences
    assert {number: path.name for number, path in sequence.images.items()} == {
        10: "010.jpg",
        11: "0011.jpg",
        12: "00012.jpg",
        13: "13.jpg",
    }
    assert all(folder in str(path) for path in sequence.images.values())


@pytest.mark.parametrize(("unknown", "label", "frames"), [("mask", -1, 4), ("negative", 0, 4), ("drop", None, 3)])
def test_code_9_is_taken_as_the_option_says(tmp_path, unknown, label, frames):
    """And is reported with its frame and AU."""
    _codes(tmp_path, codes={(11, 12): 9})
    _images(tmp_path, *range(10, 14))
    corpus = bp4d.read(tmp_path, unknown=unknown)
    (sequence,) = corpus.sequences
    assert len(sequence.frames) == len(sequence.labels) == frames
    if label is not None:
        assert sequence.labels[1, AUS.index(12)] == label and (np.delete(sequence.labels, AUS.index(12), 1) >= 0).all()
    (problem,) = corpus.problems
    assert (problem.kind, problem.where) == (records.NOT_KNOWN, "F001/T1 frame 11") and "AU 12 in 1" in problem.detail


def test_code_9_of_an_au_that_is_not_prepared_does_not_matter(tmp_path):
    """AU 28 is not among the twelve."""
    _codes(tmp_path, codes={(11, 28): 9})
    _images(tmp_path, *range(10, 14))
    assert bp4d.read(tmp_path, unknown="drop").problems == ()


def test_mismatches_are_reported(tmp_path):
    """Uncoded images in one line, codes without images, two images of a number, no fold."""
    for name in ("F001_T1", "F001_T2", "F002_T1"):
        _codes(tmp_path, name)
    _images(tmp_path, 1, 2, folder="2D+3D/F002/T1")
    _images(tmp_path, *range(1, 13), "0012")
    _images(tmp_path, 1, folder="2D+3D/F001/T3")
    corpus = bp4d.read(tmp_path, partition={"F001": 0})
    assert [sequence.key for sequence in corpus.sequences] == ["F001/T1"]
    assert {(p.kind, p.where, p.count) for p in corpus.problems} == {
        (records.NO_LABEL, "F001/T1 frame 1 to 9", 9),
        (records.AMBIGUOUS, "F001/T1 frame 12", 1),
        (records.NO_IMAGE, "F001/T2", 4),
        (records.NO_LABEL, "F001/T3", 1),
        (records.NO_FOLD, "F002/T1", 2),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda lines: [*lines[:2], *(line.replace(",1", ",2") for line in lines[2:])],
            "3 of 4 lines cannot be read; line 3: AU .* has code '2', .*: expected 0, 1 or 9",
        ),
        (lambda lines: ["0,1,2,4", *lines[1:]], "line 1: expected a header of a 0 and AU numbers; it lacks 6, 7"),
        (lambda lines: [lines[0] + ",12"], "line 1: has AU 12 twice, in '12' and '12'"),
        (lambda lines: [lines[0].replace(",12,", ",12L,12R,")], "line 1: column '12L' is of one side .* named 'au12'"),
        (lambda lines: lines[:1], "has no row of codes"),
        (lambda lines: [], "is empty"),
        (lambda lines: ["\0\0\1"], "cannot be read as text"),
    ],
)
def test_a_bad_file_is_named_by_line(tmp_path, change, message):
    """Its sequence is left out, the others are not."""
    bad = _codes(tmp_path)
    _codes(tmp_path, "F001_T2")
    _images(tmp_path, *range(10, 14))
    _images(tmp_path, *range(10, 14), folder="2D+3D/F001/T2")
    bad.write_text("\n".join(change(bad.read_text().splitlines())))
    with pytest.raises(FileError, match=message):
        bp4d_codes.read_codes(bad, AUS)
    corpus = bp4d.read(tmp_path)
    assert [sequence.key for sequence in corpus.sequences] == ["F001/T2"]
    ((kind, where),) = [(p.kind, p.where) for p in corpus.problems]
    assert (kind, where) == (records.BAD_FILE, str(bad))


@pytest.mark.parametrize("unknown", bp4d.UNKNOWN)
def test_a_code_that_cannot_be_read_is_unknown_in_its_frame_and_au_alone(tmp_path, unknown):
    """Whatever a 9 is taken as; it is named by file and line, and counted."""
    bad = _codes(tmp_path, codes={(12, 6): 7, (12, 5): "x"})
    _images(tmp_path, *range(10, 14))
    corpus = bp4d.read(tmp_path, unknown=unknown)
    (problem,) = corpus.problems
    assert (problem.kind, problem.where, problem.count) == (records.BAD_LINE, f"{bad} line 4", 1)
    assert problem.detail == "AU 6 has code '7': expected 0, 1 or 9; unknown in frame 12"
    expected = np.array([[(frame + au) % 2 for au in AUS] for frame in range(10, 14)])
    expected[2, AUS.index(6)] = -1
    expected = np.delete(expected, 2, 0) if unknown == "drop" else expected
    np.testing.assert_array_equal(corpus.sequences[0].labels, expected)


def test_rows_that_cannot_be_read_cost_their_frames(tmp_path):
    """A row cut off; a frame that comes twice, of which only the codes that differ are lost; no frame number."""
    bad = _codes(tmp_path, frames=range(10, 20))
    _images(tmp_path, *range(10, 20))
    lines = bad.read_text().splitlines()
    other = lines[4].split(",")
    other[1 + HEADER[1:].index(12)] = "9"
    bad.write_text("\n".join([*lines[:2], lines[2][:7], *lines[3:], lines[3], ",".join(other), "?" + lines[1]]))
    corpus = bp4d.read(tmp_path)
    expected = np.array([[(frame + au) % 2 for au in AUS] for frame in range(10, 20)])
    expected[1], expected[3, AUS.index(12)] = -1, -1
    np.testing.assert_array_equal(corpus.sequences[0].labels, expected)
    assert [(p.kind, p.where.removeprefix(str(bad)), p.detail) for p in corpus.problems] == [
        (records.BAD_LINE, " line 3", "expected 15 cells as in the header, got 4: frame 11 is unknown"),
        (records.BAD_LINE, " line 13", "frame 13 comes twice, line 5 has another code of AU 12"),
        (records.BAD_LINE, " line 14", "expected a frame number, got '?10'"),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_codes_of_other_programs(tmp_path, separator, encoding):
    """Semicolons or tabs, 1.0 for 1, empty cells at the end, UTF-16; of columns AU01 and AU01_c, too."""
    path = _codes(tmp_path, codes={(11, 12): 9})
    expected = bp4d_codes.read_codes(path, AUS)
    rows = [[f"{cell}.0" for cell in line.split(",")] for line in path.read_text().splitlines()[1:]]
    header = ["frame", *(f"AU{au:02d}" if au % 2 else f"au{au}_c" for au in HEADER[1:])]
    text = "\r\n".join(separator.join(row) + separator for row in [header, *rows])
    path.write_bytes(text.encode(encoding))
    codes = bp4d_codes.read_codes(path, AUS)
    np.testing.assert_array_equal(codes.frames, expected.frames)
    np.testing.assert_array_equal(codes.codes, expected.codes)
    assert codes.bad == codes.unread == []


def test_columns_that_are_no_aus_are_named(tmp_path):
    """In the report's notes."""
    path = _codes(tmp_path)
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{header},coder", *(f"{row},x" for row in rows)]))
    _images(tmp_path, *range(10, 14))
    assert bp4d.read(tmp_path).notes == ("columns of codes that are not read: 'coder'",)


@pytest.mark.parametrize(
    "name",
    ["Pictures/F001_T1_{:03d}.jpg", "F001/f001_t01_{}.png", "2D+3D/F001/T01/{:04d}.jpg", "F001/T1/F001_T1_{}.jpg"],
)
def test_images_in_other_layouts(tmp_path, name):
    """In one folder, with the sequence in their names, or in folders T01."""
    _codes(tmp_path)
    for number in range(10, 14):
        path = tmp_path / name.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    corpus = bp4d.read(tmp_path)
    (sequence,) = corpus.sequences
    assert sequence.name == "T1" and corpus.problems == ()
    assert sequence.images == {number: tmp_path / name.format(number) for number in range(10, 14)}


def test_images_in_the_owners_folders_come_first(tmp_path):
    """Before those that have the sequence in their names; a name of another sequence than the folder's is reported."""
    _codes(tmp_path)
    _images(tmp_path, *range(10, 14), folder="F001/T1")
    _images(tmp_path, "F001_T1_010", folder="Aligned")
    _images(tmp_path, "F001_T2_010", folder="F001/T1")
    corpus = bp4d.read(tmp_path)
    assert corpus.sequences[0].images[10] == tmp_path / "F001/T1/10.jpg"
    ((kind, where),) = [(p.kind, p.where) for p in corpus.problems]
    assert (kind, where) == (records.AMBIGUOUS, "F001/T1/F001_T2_010.jpg")


def test_linked_folders_are_read(tmp_path):
    """Of images and codes; a loop ends, and images that are found twice are one."""
    root = tmp_path / "BP4D"
    root.mkdir()
    _codes(tmp_path / "nas")
    _images(tmp_path / "nas", *range(10, 14), folder="store/x")
    (tmp_path / "nas/loop").symlink_to(tmp_path)
    (root / "AUCoding").symlink_to(tmp_path / "nas/AUCoding")
    for task in ("T1", "T01"):
        (root / "2D+3D/F001").mkdir(parents=True, exist_ok=True)
        (root / f"2D+3D/F001/{task}").symlink_to(tmp_path / "nas/store/x")
    (root / "AUCoding/again").symlink_to(tmp_path / "nas")
    corpus = bp4d.read(root)
    assert sorted(corpus.sequences[0].images) == [10, 11, 12, 13] and corpus.problems == ()


@pytest.mark.parametrize(
    ("codes", "folder", "sign"),
    [
        (("F001_T1", "F024_T1", "M019_T2"), ".", "subjects F024, M019, as BP4D"),
        (("F001_T1", "F001_T9", "F001_T10"), ".", "tasks T9, T10, as BP4D"),
        (("F001_T1",), "BP4D+", r"a folder BP4D\+, as BP4D"),
        (("F001_T1",), "bp4d_plus/part1", "a folder bp4d_plus, as BP4D"),
    ],
)
def test_bp4d_plus_is_not_bp4d(tmp_path, codes, folder, sign):
    """It is named, with the way to prepare it: under a name and with folds of its own."""
    for name in codes:
        _codes(tmp_path / folder, name)
    _images(tmp_path, *range(10, 14))
    with pytest.raises(LayoutError, match=f"is not BP4D, .*{sign}.* --name bp4d_plus --partition FILE"):
        bp4d.read(tmp_path, partition={"F001": 0})
    with pytest.raises(LayoutError, match="--name bp4d_plus needs --partition FILE"):
        bp4d.read(tmp_path, name="bp4d_plus")
    corpus = bp4d.read(tmp_path, name="bp4d_plus", partition={"F024": 0, "F001": 2})
    assert corpus.name == "bp4d_plus" and [(s.key, s.fold) for s in corpus.sequences] == [("F001/T1", 2)]
    assert corpus.recordings == "bp4d_plus", "its F001 is another person than BP4D's"


def test_bp4d_by_another_name_shows_the_same_people(tmp_path):
    """Known by its subjects and tasks; the tasks of BP4D+ alone leave that open."""
    for task in (1, 2):
        _codes(tmp_path, f"F001_T{task}")
    _images(tmp_path, *range(10, 14))
    assert bp4d.read(tmp_path).recordings == "bp4d"
    assert bp4d.read(tmp_path, name="again", partition={"F001": 1}).recordings == "bp4d"
    (tmp_path / "AUCoding/AU_OCC/F001_T2.csv").unlink()
    for task in (6, 7, 8):
        _codes(tmp_path, f"F001_T{task}")
    assert bp4d.read(tmp_path, name="again", partition={"F001": 1}).recordings == "again"


def test_codes_of_bp4d_plus_tasks_alone_are_noted(tmp_path):
    """A copy of BP4D may have them, and no other sign is there."""
    for task in (1, 6, 7, 8):
        _codes(tmp_path, f"F001_T{task}")
    _images(tmp_path, *range(10, 14))
    (note,) = bp4d.read(tmp_path).notes
    assert "as in BP4D+" in note and "--name bp4d_plus --partition FILE" in note


def test_intensities_of_the_same_name_are_not_codes(tmp_path):
    """Files in AU_INT have the same names."""
    occurrence = _codes(tmp_path)
    intensity = tmp_path / "AUCoding/AU_INT/AU06/F001_T1.csv"
    intensity.parent.mkdir(parents=True)
    intensity.write_text(occurrence.read_text())
    _images(tmp_path, *range(10, 14))
    corpus = bp4d.read(tmp_path)
    assert len(corpus.sequences) == 1 and corpus.problems == ()


def test_a_wrong_folder_is_refused(tmp_path):
    """With what was not found; also where every file of codes has other AUs."""
    (tmp_path / "ActionUnit_Labels").mkdir()
    (tmp_path / "ActionUnit_Labels/x.txt").write_text("")
    with pytest.raises(LayoutError, match="AUCoding/AU_OCC/F001_T1.csv; there is: ActionUnit_Labels"):
        bp4d.read(tmp_path)
    _codes(tmp_path, header=(0, 1, 2))
    with pytest.raises(LayoutError, match="is an image Sequences\\(2D\\+3D\\)/F001/T1/0001.jpg"):
        bp4d.read(tmp_path)
    _images(tmp_path, *range(10, 14))
    with pytest.raises(LayoutError, match="no file of codes can be read; .*F001_T1.csv: line 1: expected a header"):
        bp4d.read(tmp_path)
