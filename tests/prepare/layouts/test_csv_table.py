"""Custom corpora: a table of images, subjects and AUs."""

import numpy as np
import pytest

from fgnet_jax.prepare.layouts import csv_table, records
from fgnet_jax.prepare.layouts.records import LayoutError


def _table(root, text, images=("a/1.jpg", "a/2.jpg", "b/1.jpg", "c/1.jpg")):
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    path = root / "table.csv"
    path.write_text(text)
    return path


ROWS = "a/1.jpg,ann,1,0\na/2.jpg,ann,,1\nb/1.jpg,bob,0,9\nc/1.jpg,cleo,0,1\n"


@pytest.mark.parametrize(
    "header",
    [
        "image,subject,au6,AU43",
        "picture,subject,au6,AU43",
        "image_path,Subject,AU06,au_43",
        "File,SUBJECT,au6,AU 43",
    ],
)
def test_columns_by_name(tmp_path, header):
    """AUs of any number; empty and 9 are unknown; subjects are assigned to the folds in turn."""
    corpus = csv_table.read(_table(tmp_path, f"{header}\n{ROWS}"), "mine")
    assert (corpus.name, corpus.aus, corpus.root) == ("mine", (6, 43), tmp_path)
    assert [(sequence.subject, sequence.fold) for sequence in corpus.sequences] == [("ann", 0), ("bob", 1), ("cleo", 2)]
    assert corpus.sequences[0].labels.tolist() == [[1, 0], [-1, 1]]
    assert corpus.sequences[1].labels.tolist() == [[0, -1]]
    assert {sequence.name for sequence in corpus.sequences} == {"pictures"}, (
        "part of the fingerprint of prepared datasets"
    )
    assert corpus.sequences[0].images == {1: tmp_path / "a/1.jpg", 2: tmp_path / "a/2.jpg"}


def test_sequences_frames_folds_and_intensities(tmp_path):
    """If the table has them."""
    text = "fold,frame,sequence,subject,image,au6\n2,7,x,ann,a/1.jpg,3\n2,3,x,ann,a/2.jpg,\n0,1,y,bob,b/1.jpg,1.5\n"
    corpus = csv_table.read(_table(tmp_path, text), "mine", threshold=2)
    assert [(sequence.key, sequence.fold, sequence.frames.tolist()) for sequence in corpus.sequences] == [
        ("bob/y", 0, [1]),
        ("ann/x", 2, [3, 7]),
    ]
    np.testing.assert_array_equal(corpus.sequences[1].intensities, [[-1], [3]])
    np.testing.assert_array_equal(corpus.sequences[1].labels, [[-1], [1]])
    assert corpus.sequences[0].labels.tolist() == [[0]]


def test_a_label_that_cannot_be_read_is_unknown(tmp_path):
    """In its row and column alone, which are named and counted."""
    text = "image,subject,au6,au12\na/1.jpg,ann,1,0\na/2.jpg,ann,x,1\nb/1.jpg,bob,0,1\nc/1.jpg,cleo,0,1\n"
    path = _table(tmp_path, text)
    corpus = csv_table.read(path, "mine")
    assert [sequence.labels.tolist() for sequence in corpus.sequences] == [[[1, 0], [-1, 1]], [[0, 1]], [[0, 1]]]
    (problem,) = corpus.problems
    assert (problem.kind, problem.where, problem.count) == (records.BAD_LINE, f"{path} line 3", 1)
    assert problem.detail == "au6 is 'x': expected 0, 1, or nothing for unknown"


def test_bad_rows_are_named_by_line_and_left_out(tmp_path):
    """No subject, another image of the same frame, a frame that is no number, a row cut off; a subject in no fold."""
    rows = "a/1.jpg,ann,1,1\na/2.jpg,,1,1\nb/1.jpg,bob,1,0\na/2.jpg,bob,1,0\nc/1.jpg,bob,x,0\na/2.jpg,bob\n"
    path = _table(tmp_path, f"image,subject,frame,au6\n{rows}{'x' * 300},bob,9,1\nc/1.jpg,cleo,4,0\n")
    corpus = csv_table.read(path, "mine", partition={"bob": 1, "ann": 0})
    assert [(sequence.subject, sequence.frames.tolist()) for sequence in corpus.sequences] == [
        ("ann", [1]),
        ("bob", [1]),
    ]
    assert [(p.kind, p.where) for p in corpus.problems] == [
        *((records.BAD_LINE, f"{path} line {line}") for line in (3, 5, 6, 7, 8)),
        (records.NO_FOLD, "cleo/pictures"),
    ]
    assert "frame 1 of bob/pictures comes twice, with another image" in corpus.problems[1].detail


@pytest.mark.parametrize("damage", [b'"', b"\xff", b"\0"])
@pytest.mark.parametrize("place", ["a/2.jpg", "ann,0,0"])
def test_damage_costs_its_row_alone(tmp_path, damage, place):
    """A quote that none follows, and bytes that are no text."""
    path = _table(tmp_path, "")
    text = "image,subject,au6,au12\na/1.jpg,ann,1,1\na/2.jpg,ann,0,0\nb/1.jpg,bob,0,1\nc/1.jpg,cleo,1,0\n"
    path.write_bytes(text.encode().replace(place.encode(), damage + place.encode()))
    corpus = csv_table.read(path, "mine")
    assert [s.labels.tolist() for s in corpus.sequences] == [[[1, 1]], [[0, 1]], [[1, 0]]]
    assert [(p.kind, p.where) for p in corpus.problems] == [(records.BAD_LINE, f"{path} line 3")]


def test_a_quote_that_none_follows_swallows_no_rows(tmp_path):
    """In the last cell, so that the row has as many as the header."""
    text = 'image,subject,au6,au12\na/1.jpg,ann,1,"1\na/2.jpg,ann,0,0\nb/1.jpg,bob,0,1\n'
    corpus = csv_table.read(_table(tmp_path, text), "mine")
    assert [s.labels.tolist() for s in corpus.sequences] == [[[1, 1], [0, 0]], [[0, 1]]] and corpus.problems == ()


def test_a_quoted_cell_may_have_lines(tmp_path):
    """Such as a note, which is not read."""
    text = 'image,subject,au6,note\na/1.jpg,ann,1,"one, two\nthree ""four"""\nb/1.jpg,bob,0,\n'
    corpus = csv_table.read(_table(tmp_path, text), "mine")
    assert [s.labels.tolist() for s in corpus.sequences] == [[[1]], [[0]]] and corpus.problems == ()


@pytest.mark.parametrize("frame", [True, False])
def test_rows_of_the_same_image_that_differ_are_unknown(tmp_path, frame):
    """In the AU in which they do; with a number of the frame, or without."""
    rows = ["a/1.jpg,ann,1,0{}", "a/1.jpg,ann,1,1{}", "a/2.jpg,ann,1,0{}", "a/2.jpg,ann,1,0{}"]
    lines = [row.format(f",{k // 2}" if frame else "") for k, row in enumerate(rows)]
    path = _table(tmp_path, "\n".join(["image,subject,au6,au12" + (",frame" if frame else ""), *lines]))
    corpus = csv_table.read(path, "mine")
    times = 1 if frame else 2
    assert corpus.sequences[0].labels.tolist() == [*[[1, -1]] * times, *[[1, 0]] * times]
    (problem,) = corpus.problems
    assert problem.where == f"{path} line 3" and problem.detail == "'a/1.jpg' comes twice, with another au12"


def test_an_image_of_two_subjects_is_named(tmp_path):
    """They would be in two folds."""
    (problem,) = csv_table.read(_table(tmp_path, "image,subject,au6\na/1.jpg,ann,1\na/1.jpg,bob,1\n"), "mine").problems
    assert "'a/1.jpg' comes twice, ann's before" in problem.detail


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_other_programs(tmp_path, separator, encoding):
    """Semicolons or tabs, 1.0 for 1, empty cells at the end, UTF-16."""
    rows = [
        "image,subject,au6,AU43,frame,fold",
        "a/1.jpg,ann,1.0,0.0,7.0,1.0,",
        "a/2.jpg,ann,9.0,1,8,1",
        "b/1.jpg,b,0,,1,0",
    ]
    path = _table(tmp_path, "")
    path.write_bytes("\r\n".join(rows).replace(",", separator).encode(encoding))
    corpus = csv_table.read(path, "mine")
    assert [(s.key, s.fold, s.frames.tolist(), s.labels.tolist()) for s in corpus.sequences] == [
        ("b/pictures", 0, [1], [[0, -1]]),
        ("ann/pictures", 1, [7, 8], [[1, 0], [-1, 1]]),
    ]
    assert corpus.problems == () and corpus.notes == ()


def test_openfaces_columns(tmp_path):
    """Presence is read, and the intensities beside it are named, as is every column that is not read."""
    header = "image,subject, AU06_r, AU43_r, AU06_c, AU43_c, confidence"
    path = _table(tmp_path, f"{header}\na/1.jpg,ann,2.31,0,1.0,0.0,0.98\nb/1.jpg,bob,0,1,0.0,1,0.9\n")
    corpus = csv_table.read(path, "mine")
    assert corpus.aus == (6, 43) and [s.labels.tolist() for s in corpus.sequences] == [[[1, 0]], [[0, 1]]]
    assert corpus.notes == (f"{path}: columns that are not read: 'AU06_r', 'AU43_r', 'confidence'",)
    with pytest.raises(LayoutError, match="columns AU…_c have 0 and 1, no intensities: leave out --threshold"):
        csv_table.read(path, "mine", threshold=2)


def test_the_name_of_a_published_corpus_means_its_subjects_and_folds(tmp_path):
    """Else a model would be tested on those that it has learnt."""
    text = "image,subject,au6\na/1.jpg,F001,1\nb/1.jpg,F024,0\n"
    with pytest.raises(LayoutError, match="--name bp4d: F024 are not subjects of bp4d; choose another name"):
        csv_table.read(_table(tmp_path, text), "bp4d")
    path = _table(tmp_path, text.replace("F024", "F002"))
    with pytest.raises(LayoutError, match="--name bp4d has published folds: give them with --partition or in a column"):
        csv_table.read(path, "bp4d")
    assert len(csv_table.read(path, "bp4d", partition={"F001": 0, "F002": 0}).sequences) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "subject,au6\nann,1\n",
            "has no column image or picture or image_path or path or file: its columns are 'subject', 'au6'",
        ),
        ("image,au6\na/1.jpg,1\n", "has no column subject"),
        ("image,subject\na/1.jpg,ann\n", "has no AU column"),
        ("image,subject,au6,AU06\n", "has AU 6 twice, in 'au6' and 'AU06'"),
        ("image,subject,au6\na/1.jpg,ann\n", "line 2: expected 3 cells as in the header, got 2"),
        ("image,subject,au6\na/1.jpg,ann,x\n", "column 'au6' cannot be read in 1 of 1 rows, such as 'x' in line 2"),
        (
            "image,subject,au6\na/1.jpg,a,2\na/2.jpg,a,3\n" + "b/1.jpg,b,0\n" * 9,
            "column 'au6' has intensities, 2, 3: say with --threshold",
        ),
        ("image,subject,AU06_r,au1\n", "column 'AU06_r' is an intensity that a tool .* AU 6 .* column named 'au6'"),
        ("image,subject,au1,au12L,au12R\n", "column 'au12L' is of one side of the face: .* column named 'au12'"),
        ("image,subject,au1,au12_R\n", "column 'au12_R' is of one side of the face: .* column named 'au12'"),
        ("image,subject,au1,AU6+12\n", "column 'AU6\\+12' seems to be of an AU: .* AU 6 .* column named 'au6'"),
        ("image,subject,subject,au1\n", "has two columns 'subject'"),
        ("image,subject,au6\nx/1.jpg,ann,1\n", "none of its 1 images is there; looked for .*x/1.jpg"),
        ("image,subject,au6\n", "no row can be used; there is none"),
        ("image,subject,au6,fold\na/1.jpg,ann,1,-1\n", "line 2: fold is '-1': expected a whole number, from 0 on"),
        ("image,subject,au6,fold\na/1.jpg,ann,1,1\na/2.jpg,ann,1,0\n", "line 3: ann is in fold 1 as well as in 0"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, text, message):
    """With file and line."""
    with pytest.raises(LayoutError, match=message):
        csv_table.read(_table(tmp_path, text), "mine")
