"""Tables of this package and of other tools, in their own conventions."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from fgnet_jax.evaluate import result_tables
from fgnet_jax.evaluate.method import at_thresholds
from fgnet_jax.evaluate.runs import EvaluationError
from fgnet_jax.predict.columns import DIALECTS, ResultRow, table_columns

INPUTS = "(?P<subject>s[0-9])_(?P<sequence>[a-z]+)"


def _write(path, columns, rows):
    lines = [",".join(columns.names), *(",".join(columns.cells(row)) for row in columns.of_table(rows))]
    path.write_text("\n".join(lines) + "\n")
    return path


def _row(frame, scores, face=0, confidence=0.9, name="s1_happy.mp4"):
    if scores is None:
        return ResultRow(input=name, frame=frame)
    values = np.array(scores, np.float32)
    return ResultRow(
        input=name,
        frame=frame,
        face_id=face,
        confidence=confidence,
        box=(0, 0, 9, 9),
        landmarks=np.ones((68, 2)),
        scores=values,
        present=values > 0,
        size=(10, 10),
    )


ROWS = [_row(1, [0.2, -0.1]), _row(2, None), _row(3, [-0.3, 0.4])]


@pytest.mark.parametrize("dialect", [None, *DIALECTS])
def test_tables_of_every_dialect(tmp_path, dialect):
    """Frames are numbered from 1; one without a face has no result, or no row; scores are where a tool has them."""
    path = _write(tmp_path / "table.csv", table_columns((1, 12), dialect), ROWS)
    method = result_tables.read([path], source="table", inputs=INPUTS)
    assert method.aus == (1, 12) and set(method.subjects) == {"s1"} and set(method.sequences) == {"happy"}
    has_row = [0, 2] if dialect == "libreface" else [0, 1, 2]
    assert method.frames.tolist() == [k + 1 for k in has_row]
    assert method.present.tolist() == [[[1, 0], [-1, -1], [0, 1]][k] for k in has_row]
    expected = np.array([[0.2, -0.1], [np.nan, np.nan], [-0.3, 0.4]])[has_row] if dialect is None else np.nan
    np.testing.assert_allclose(method.scores, np.broadcast_to(expected, method.scores.shape))
    assert ("predict" if dialect is None else dialect) in method.rule.lower().replace("-", "")


def test_parquet_is_as_csv(tmp_path):
    """As `predict --output table.parquet` writes it."""
    columns = table_columns((1, 12))
    rows = [dict(zip(columns.names, columns.values(row), strict=True)) for row in ROWS]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "table.parquet")
    _write(tmp_path / "table.csv", columns, ROWS)
    both = [result_tables.read([tmp_path / f"table.{kind}"], source="", inputs=INPUTS) for kind in ("csv", "parquet")]
    for name in ("subjects", "frames", "present", "scores"):
        np.testing.assert_array_equal(getattr(both[0], name), getattr(both[1], name))


def test_scores_of_other_tools(tmp_path):
    """OpenFace's intensities beside its presence, LibreFace's; Py-Feat's probabilities are present above a half."""
    (tmp_path / "openface.csv").write_text("frame, success, AU01_r, AU01_c\n1, 1, 2.5, 1\n2, 0, 0, 0\n")
    openface = result_tables.read([tmp_path / "openface.csv"], source="", inputs="(?P<subject>open)")
    assert openface.present.tolist() == [[1], [-1]] and openface.scores[0] == 2.5 and np.isnan(openface.scores[1])
    (tmp_path / "libreface.csv").write_text("frame_idx,au_1,au_1_intensity\n0,1,2.25\n1,0,0.5\n")
    libreface = result_tables.read([tmp_path / "libreface.csv"], source="", inputs="(?P<subject>libre)")
    assert libreface.present.tolist() == [[1], [0]] and libreface.scores.tolist() == [[2.25], [0.5]]
    (tmp_path / "pyfeat.csv").write_text("frame,input,AU01,AU12\n0,s1_a.mp4,0.7,1\n1,s1_a.mp4,0.4,\n")
    pyfeat = result_tables.read([tmp_path / "pyfeat.csv"], source="", inputs=INPUTS)
    assert pyfeat.frames.tolist() == [1, 2] and pyfeat.present.tolist() == [[1, 1], [0, -1]]
    assert "AU01: probabilities, present above 0.5" in pyfeat.remarks
    assert at_thresholds(openface, np.array([3.0]), "3").present.tolist() == [[0], [-1]]
    with pytest.raises(EvaluationError, match="there are no scores of AU12 to apply a threshold to"):
        at_thresholds(pyfeat, np.zeros(2), "0")


def test_the_most_confident_face_of_a_frame(tmp_path):
    """Which is said; without confidences, several faces are refused."""
    rows = [_row(1, [-1, -1], face=0, confidence=0.3), _row(1, [1, 1], face=1, confidence=0.8), _row(2, [1, -1])]
    method = result_tables.read([_write(tmp_path / "a.csv", table_columns((1, 12)), rows)], source="", inputs=INPUTS)
    assert method.present.tolist() == [[1, 1], [1, 0]] and method.frames.tolist() == [1, 2]
    assert "1 rows are further faces of a frame, whose most confident one is taken" in method.remarks
    path = _write(tmp_path / "b.csv", table_columns((1, 12), "libreface"), rows)
    with pytest.raises(EvaluationError, match="several faces in s1 frame 1, and no confidence to choose one by"):
        result_tables.read([path], source="", inputs=INPUTS)


def test_images_have_their_frame_in_their_name(tmp_path):
    """As BP4D's: 0001.jpg of a subject and task."""
    rows = [_row(1, [1, 0], name=f"BP4D/F001/T1/{k:04d}.jpg") for k in (7, 12)]
    path = _write(tmp_path / "a.csv", table_columns((1, 12)), rows)
    pattern = r"(?P<subject>[FM]\d+)/(?P<sequence>T\d)/(?P<frame>\d+)"
    method = result_tables.read([path], source="", inputs=pattern)
    assert method.frames.tolist() == [7, 12] and method.sequences.tolist() == ["T1", "T1"]
    with pytest.raises(EvaluationError, match=r"0007.jpg and .*0012.jpg both have frame 1 of F001: tell them apart"):
        result_tables.read([path], source="", inputs=r"(?P<subject>[FM]\d+)")


def test_a_frame_0_beside_subjects_is_flagged(tmp_path):
    """Py-Feat counts from 0, and a column of subjects may have been added without adding 1: all frames then shift."""
    (tmp_path / "a.csv").write_text("subject,frame,AU01\nanna,0,1\nanna,1,0\nbob,1,0\n")
    [warning] = result_tables.read([tmp_path / "a.csv"], source="").warnings
    assert "a frame 0 of anna" in warning and "column subject" in warning
    (tmp_path / "a.csv").write_text("subject,frame,AU01\nanna,1,1\n")
    assert result_tables.read([tmp_path / "a.csv"], source="").warnings == ()


def test_tables_without_a_common_au_are_refused(tmp_path):
    """They are no one method either."""
    (tmp_path / "a.csv").write_text("subject,frame,AU01_c\na,1,1\n")
    (tmp_path / "b.csv").write_text("subject,frame,AU02_c\na,2,1\n")
    with pytest.raises(EvaluationError, match=r"both: no AU is in all of its 2 tables"):
        result_tables.read([tmp_path / "a.csv", tmp_path / "b.csv"], source="both")


def test_a_table_with_subjects(tmp_path):
    """Has the corpus' own numbers of frames."""
    (tmp_path / "a.csv").write_text("subject,sequence,frame,split,AU01\nanna,x,0,fold_0,1\nbob,y,4,fold_1,0\n")
    method = result_tables.read([tmp_path / "a.csv"], source="")
    assert method.subjects.tolist() == ["anna", "bob"] and method.frames.tolist() == [0, 4]
    assert method.splits is not None and method.splits.tolist() == ["fold_0", "fold_1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column of an AU's presence"),
        ("subject,frame\na,1\n", "no column of an AU's presence .*its columns are subject, frame"),
        ("subject,frame,AU01\na,1.5,1\n", "column 'frame' has other cells than whole numbers"),
        ("subject,frame,AU01\na,1,yes\n", "cannot be read as a table: .*'yes'"),
        ("subject,frame,AU01\na,1,3\n", "AU01 has presence 3: expected 0, 1 or a probability"),
        ("subject,frame,AU01\na,1\n", "cannot be read as a table"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path, text, message):
    """With what is wrong."""
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(EvaluationError, match=message):
        result_tables.read([tmp_path / "bad.csv"], source="bad")


def test_tables_of_several_tools_are_refused(tmp_path):
    """Since they are no one method."""
    (tmp_path / "a.csv").write_text("subject,frame,AU01\na,1,1\n")
    (tmp_path / "b.csv").write_text("subject,frame,AU01_c\na,2,1\n")
    with pytest.raises(EvaluationError, match=r"tables of several tools: .*a.csv \(Py-Feat.*b.csv \(OpenFace"):
        result_tables.read([tmp_path / "a.csv", tmp_path / "b.csv"], source="both")
