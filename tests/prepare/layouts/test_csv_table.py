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


def test_bad_rows_are_named_by_line_and_left_out(tmp_path):
    """A wrong label, no subject, a frame twice, a frame that is no number; and a subject in no fold."""
    text = "image,subject,frame,au6\na/1.jpg,ann,1,2\na/2.jpg,,1,1\nb/1.jpg,bob,1,0\nb/1.jpg,bob,1,0\nc/1.jpg,bob,x,0\n"
    path = _table(tmp_path, text + "c/1.jpg,cleo,4,0\n")
    corpus = csv_table.read(path, "mine", partition={"bob": 1, "ann": 0})
    assert [sequence.subject for sequence in corpus.sequences] == ["bob"]
    assert [(p.kind, p.where) for p in corpus.problems] == [
        *((records.BAD_FILE, f"{path} line {line}") for line in (2, 3, 5, 6)),
        (records.NO_FOLD, "cleo/pictures"),
    ]
    assert "au6 is '2': expected 0, 1, or nothing" in corpus.problems[0].detail


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
        ("image,subject,au6\nx/1.jpg,ann,1\n", "none of its 1 images is there; looked for .*x/1.jpg"),
        ("image,subject,au6\n", "no row can be used; there is none"),
        ("image,subject,au6,fold\na/1.jpg,ann,1,3\n", "line 2: fold is '3': expected 0 to 2"),
        ("image,subject,au6,fold\na/1.jpg,ann,1,1\na/2.jpg,ann,1,0\n", "line 3: ann is in fold 1 as well as in 0"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, text, message):
    """With file and line."""
    with pytest.raises(LayoutError, match=message):
        csv_table.read(_table(tmp_path, text), "mine")
