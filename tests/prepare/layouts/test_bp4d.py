"""BP4D's folders: images by number, codes by the header's AUs, 9 by the option, problems by file and line."""

import numpy as np
import pytest

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.prepare.layouts import bp4d, records
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
    for name in ("F001_T1", "F001_T2", "F099_T1"):
        _codes(tmp_path, name)
    _images(tmp_path, *range(1, 13), "0012")
    _images(tmp_path, 1, folder="2D+3D/F001/T3")
    corpus = bp4d.read(tmp_path)
    assert [sequence.key for sequence in corpus.sequences] == ["F001/T1"]
    assert {(p.kind, p.where, p.count) for p in corpus.problems} == {
        (records.NO_LABEL, "F001/T1 frame 1 to 9", 9),
        (records.AMBIGUOUS, "F001/T1 frame 12", 1),
        (records.NO_IMAGE, "F001/T2", 4),
        (records.NO_LABEL, "F001/T3", 1),
        (records.NO_FOLD, "F099/T1", 0),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda lines: [*lines[:2], lines[2].replace(",1", ",2"), *lines[3:]],
            "line 3: AU .* code '2': expected 0, 1",
        ),
        (lambda lines: [*lines[:3], "12,0,1"], "line 4: expected 15 cells as in the header, got 3"),
        (lambda lines: [*lines, lines[1]], "line 6: expected a frame number that comes once, got '10'"),
        (lambda lines: ["0,1,2,4", *lines[1:]], "line 1: expected a header of a 0 and AU numbers; it lacks 6, 7"),
        (lambda lines: lines[:1], "has no row of codes"),
        (lambda lines: [], "is empty"),
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
        bp4d.read_codes(bad, AUS)
    corpus = bp4d.read(tmp_path)
    assert [sequence.key for sequence in corpus.sequences] == ["F001/T2"]
    ((kind, where),) = [(p.kind, p.where) for p in corpus.problems]
    assert (kind, where) == (records.BAD_FILE, str(bad))


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
