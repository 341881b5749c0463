"""FG-Net's own layout: labels by column, folds by table, with and without an index column or train.csv."""

import pytest

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.prepare.layouts import fgnet, records
from fgnet_jax.prepare.layouts.records import LayoutError

SUBJECTS = {"BP4D": ("F001", "F003", "M003"), "DISFA": ("SN001", "SN006", "SN003")}


def _table(path, faces, aus, index):
    rows = [",".join([*([""] if index else []), *(f"au{au}" for au in reversed(aus)), "image_path"])]
    for k, face in enumerate(faces):
        cells = [str((k + au) % 2) for au in reversed(aus)]
        rows.append(",".join([*([str(k)] if index else []), *cells, face]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")


def _layout(root, name="BP4D", index=False):
    """Three folds of a subject and three faces; columns in another order than the channels'."""
    aus = CORPUS_AUS[name.lower()]
    middle = "T1/" if name == "BP4D" else ""
    for fold, subject in enumerate(SUBJECTS[name]):
        faces = [f"{name}/{subject}/{middle}{number:05d}.jpg" for number in (2440, 7, 2441)]
        _table(root / name / f"labels/{fold}/test.csv", faces, aus, index)
        for face in faces:
            path = root / name / "aligned_images" / face.removeprefix(f"{name}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    return root / name


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("name", ["BP4D", "DISFA"])
def test_tables_become_folds(tmp_path, name, index):
    """Columns by name, frames in order of their numbers, an unnamed index column or none."""
    folder = _layout(tmp_path, name, index)
    corpus = fgnet.read(folder, name.lower())
    assert [(sequence.subject, sequence.fold) for sequence in corpus.sequences] == list(
        zip(SUBJECTS[name], range(3), strict=True)
    )
    first = corpus.sequences[0]
    assert first.name == ("T1" if name == "BP4D" else "left") and first.frames.tolist() == [7, 2440, 2441]
    assert first.labels.tolist() == [[(k + au) % 2 for au in corpus.aus] for k in (1, 0, 2)]
    assert corpus.root == folder / "aligned_images" and first.images[7].is_file()
    assert corpus.problems == () and corpus.notes == ()


def test_both_corpora_are_found(tmp_path):
    """Below a folder, or the folder of one itself."""
    _layout(tmp_path)
    _layout(tmp_path, "DISFA")
    assert fgnet.corpora_in(tmp_path).keys() == {"bp4d", "disfa"}
    assert fgnet.corpora_in(tmp_path / "DISFA") == {"disfa": tmp_path / "DISFA"}
    with pytest.raises(LayoutError, match="a folder BP4D or DISFA with aligned_images and labels in it"):
        fgnet.corpora_in(tmp_path / "BP4D/labels")


def test_train_tables_are_compared(tmp_path):
    """They are not needed; one that differs from the test sets is reported."""
    folder = _layout(tmp_path)
    aus = CORPUS_AUS["bp4d"]
    _table(folder / "labels/0/train.csv", ["BP4D/F003/T1/00007.jpg", "BP4D/M003/T1/00007.jpg"], aus, False)
    assert fgnet.read(folder, "bp4d").notes == ()
    _table(folder / "labels/1/train.csv", ["BP4D/F001/T1/00007.jpg"], aus, False)
    (train_note,) = fgnet.read(folder, "bp4d").notes
    assert "labels/1/train.csv has other subjects" in train_note and "(M003)" in train_note


def test_bad_labels_and_rows_are_named_by_line(tmp_path):
    """A label that cannot be read is unknown; a row without a path is left out; one that comes twice counts once."""
    folder = _layout(tmp_path)
    table = folder / "labels/0/test.csv"
    lines = table.read_text().splitlines()
    lines[2] = lines[2].replace("0,", "2,", 1)  # AU 23, the first 0
    lines[3] = lines[3].replace("F001/T1", "somebody")
    # again, with another AU 23, and cut off
    lines += [lines[1], lines[1].replace("1,", "0,", 1), "BP4D/F001/T1/00008.jpg"]
    table.write_text("\n".join(lines))
    corpus = fgnet.read(folder, "bp4d")
    (sequence,) = [s for s in corpus.sequences if s.subject == "F001"]
    assert sequence.frames.tolist() == [7, 2440]
    expected = [[(k + au) % 2 for au in corpus.aus] for k in (1, 0)]
    expected[0][corpus.aus.index(23)] = expected[1][corpus.aus.index(23)] = -1
    assert sequence.labels.tolist() == expected
    assert [(p.kind, p.where) for p in corpus.problems] == [
        (records.BAD_LINE, f"{table} line {line}") for line in (3, 4, 6, 7)
    ]


def test_columns_that_are_not_read_are_named(tmp_path):
    """And those of a side, where the AU has another."""
    folder = _layout(tmp_path)
    table = folder / "labels/0/test.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text(
        "\n".join([f"{header};coder;au12L".replace(",", ";"), *(f"{r};x;1".replace(",", ";") for r in rows)])
    )
    corpus = fgnet.read(folder, "bp4d")
    assert corpus.notes == (f"{table}: columns that are not read: 'coder', 'au12L'",)
    assert len(corpus.sequences) == 3


def test_linked_folders_are_found_by_their_own_names(tmp_path):
    """Whatever they lead to; two of one corpus are refused."""
    root = tmp_path / "root"
    root.mkdir()
    folder = _layout(tmp_path)
    (root / "BP4D").symlink_to(folder.rename(tmp_path / "faces_v2"))
    assert fgnet.corpora_in(root) == {"bp4d": root / "BP4D"}
    assert fgnet.corpora_in(root / "BP4D") == {"bp4d": root / "BP4D"}
    (root / "bp4d").symlink_to(root / "BP4D")
    assert fgnet.corpora_in(root) == {"bp4d": root / "BP4D"}
    _layout(tmp_path / "other").rename(root / "Bp4d")
    with pytest.raises(LayoutError, match="Bp4d are both bp4d: name one of them"):
        fgnet.corpora_in(root)


def test_faces_of_another_corpus_are_refused(tmp_path):
    """BP4D+ as BP4D; folds that are not the published ones are noted."""
    folder = _layout(tmp_path)
    table = folder / "labels/0/test.csv"
    original = table.read_text()
    table.write_text(original.replace("F001", "F024"))
    with pytest.raises(LayoutError, match="is not bp4d, which has no F024: .* BP4D\\+"):
        fgnet.read(folder, "bp4d")
    table.write_text(original.replace("F001", "F005"))
    (note,) = fgnet.read(folder, "bp4d").notes
    assert note.startswith("1 subjects are in other folds than the published ones, such as F005 in 0, published in 1")


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        (lambda f: (f / "labels/2/test.csv").unlink(), "no table .*labels/2/test.csv: expected labels/0, 1 and 2"),
        (lambda f: _table(f / "labels/0/test.csv", [], (1, 2), False), "has no column of AU 4, 6, 7"),
        (lambda f: (f / "labels/0/test.csv").write_text(""), "is empty: expected a header and rows"),
        (lambda f: (f / "labels/0/test.csv").write_text("au1,au1\n"), "has AU 1 twice"),
        (lambda f: (f / "labels/0/test.csv").write_text("a,b\n"), "has no AU column"),
        (
            lambda f: _table(f / "labels/1/test.csv", ["BP4D/F001/T1/1.jpg"], CORPUS_AUS["bp4d"], False),
            "labels/1/test.csv line 2: F001 is in fold 0 as well",
        ),
    ],
)
def test_broken_tables_stop_before_work(tmp_path, break_, message):
    """With the file, and the line if it has one."""
    folder = _layout(tmp_path)
    break_(folder)
    with pytest.raises(LayoutError, match=message):
        fgnet.read(folder, "bp4d")
