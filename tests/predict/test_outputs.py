"""What a run writes beside its tables: drawings and aligned faces, which the table names, and nothing of before."""

import contextlib
import csv

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.faces import alignment
from fgnet_jax.faces.detection import Face
from fgnet_jax.faces.finder import DetectedFace, DetectedFrame
from fgnet_jax.media.frames import Frame
from fgnet_jax.media.sources import Source
from fgnet_jax.predict import outputs, pipeline, result_table
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.outputs import OutputOptions
from fgnet_jax.predict.pipeline import FrameResult

AUS = (1, 12)
SOURCES = [Source("x/a.png", "image"), Source("y/a.jpg", "image"), Source("clip.mp4", "video")]


BEGINNING = ResumePoint()


def result(index, number=1, faces=(0,), scores=(0.25, -0.5)):
    """Return a frame with faces of these numbers, each of its own grey."""
    frame = Frame(
        SOURCES[index], index, number, number / 4 if index == 2 else None, np.full((96, 128, 3), 90, np.uint8)
    )
    detected = tuple(
        DetectedFace(
            Face(np.full((68, 2), 8.0, np.float32), (8.0, 8.0, 60.0, 60.0), 0.9),
            face_id=k,
            aligned=np.full((32, 32, 3), 10 * index + k, np.uint8),
            alignment=alignment.identity(96, 32),
        )
        for k in faces
    )
    shape = (len(faces), 1)
    heatmaps = np.zeros((len(faces), 16, 16, 2), np.float32)
    return FrameResult(DetectedFrame(frame, detected), np.tile(np.array(scores, np.float32), shape), heatmaps)


def write(options, results, point=BEGINNING):
    """Write frames, and return the rows of all CSV tables."""
    with contextlib.ExitStack() as stack:
        opened = outputs.open_all(
            stack, options, options.table_columns(AUS), aus=AUS, size=16, sources=SOURCES, resume_point=point
        )
        for item in results:
            opened.write(item, pipeline.rows(item, np.zeros(2)))
        opened.table.complete()
    return [row for path in options.tables(SOURCES) if not result_table.is_parquet(path) for row in read(path)]


def read(path):
    """Read a table."""
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


RESULTS = [
    result(0, faces=(0, 1)),
    result(1, faces=()),
    result(2, 1, faces=(3,)),
    result(2, 2, faces=()),
    result(2, 3, (3, 7), scores=(np.nan, np.nan)),
]


@pytest.mark.parametrize("per_input", [None, ".csv"])
def test_the_table_names_the_drawings_and_the_faces(tmp_path, per_input):
    """Name each face's PNG and its frame's drawing, relative to their folders; leave empty what was not written."""
    table = str(tmp_path / ("tables" if per_input else "out.csv"))
    options = OutputOptions(
        table=table, per_input=per_input, overlays=str(tmp_path / "o"), aligned_faces=str(tmp_path / "f")
    )
    rows = write(options, RESULTS)
    assert [(row["input"], row["frame"], row["overlay"], row["aligned_face"]) for row in rows] == [
        ("x/a.png", "1", "x-a.png", "x-a-0.png"),
        ("x/a.png", "1", "x-a.png", "x-a-1.png"),
        ("y/a.jpg", "1", "", ""),
        ("clip.mp4", "1", "clip/000001.png", "clip/000001-3.png"),
        ("clip.mp4", "2", "", ""),
        ("clip.mp4", "3", "", "clip/000003-3.png"),
        ("clip.mp4", "3", "", "clip/000003-7.png"),
    ]
    for kind, column in (("o", "overlay"), ("f", "aligned_face")):
        written = {path.relative_to(tmp_path / kind).as_posix() for path in (tmp_path / kind).rglob("*.png")}
        assert written == {row[column] for row in rows} - {""}
    face = np.asarray(Image.open(tmp_path / "f" / "clip" / "000003-7.png"))
    assert face.shape == (32, 32, 3) and (face == 27).all(), "the aligned face, as the network takes it"


@pytest.mark.parametrize("dialect", [None, "libreface"])
def test_the_archive_has_the_rows_of_the_table(tmp_path, dialect):
    """Leave frames without a face out of both or of none, in a resumed run, too."""
    zarr = pytest.importorskip("zarr")
    options = OutputOptions(table=str(tmp_path / "out.csv"), archive=str(tmp_path / "out.zarr"), dialect=dialect)
    write(options, RESULTS[:3])
    end = len("".join((tmp_path / "out.csv").read_text().splitlines(keepends=True)[: 4 if dialect is None else 3]))
    if dialect is not None:
        columns = options.table_columns(AUS)
        with open(f"{options.table}.rows.csv", "wb") as stream:
            table = result_table.CsvTable(stream, columns, is_staged=True)
            for item in RESULTS[:2]:
                table.add(pipeline.rows(item, np.zeros(2)))
            end = stream.tell()
    rows = write(options, RESULTS[2:], ResumePoint(source=2, rows=3, end=end, written=(1, 1), faces=2))
    group = zarr.open_group(options.archive, mode="r")
    assert [row["face_id"] or "-1" for row in rows] == [str(k) for k in np.asarray(group["face_id"])]
    assert [row["input"] for row in rows] == list(np.asarray(group["input"]))
    assert len(rows) == (7 if dialect is None else 5)


def test_tables_of_equal_names_are_different_files():
    """Put folders in front, as for drawings."""
    options = OutputOptions(table="tables", per_input=".parquet")
    assert options.tables(SOURCES) == ["tables/x-a.parquet", "tables/y-a.parquet", "tables/clip.parquet"]
    assert options.files(SOURCES) == options.tables(SOURCES)


@pytest.mark.parametrize("per_input", [None, ".csv", ".parquet"])
def test_everything_that_a_run_would_replace_is_known(tmp_path, per_input):
    """Name tables, rows, records, drawings and faces of an earlier run, and nothing that is somebody else's."""
    table = str(tmp_path / ("tables" if per_input else "out.csv"))
    options = OutputOptions(
        table=table, per_input=per_input, overlays=str(tmp_path / "o"), aligned_faces=str(tmp_path / "f")
    )
    assert options.existing(SOURCES) == []
    with contextlib.ExitStack() as stack:
        columns = options.table_columns(AUS)
        opened = outputs.open_all(stack, options, columns, aus=AUS, size=16, sources=SOURCES, resume_point=BEGINNING)
        for item in RESULTS:
            opened.write(item, pipeline.rows(item, np.zeros(2)))
    for path in options.tables(SOURCES):
        (tmp_path / f"{path}.json").touch()
    everything = {str(path) for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("o/mine.png", "f/x-a.png", "f/clip/000001.png", "o/clip/note.txt"):
        (tmp_path / name).touch()
    assert set(options.existing(SOURCES)) == everything


@pytest.mark.parametrize("replaces", [False, True])
def test_pngs_of_an_earlier_run_are_removed_where_this_is_asked_for(tmp_path, replaces):
    """Leave no face that the new table does not name, and all that is no result of these inputs."""
    folder = tmp_path / "f"
    options = OutputOptions(table=str(tmp_path / "out.csv"), aligned_faces=str(folder), replaces=replaces)
    write(options, RESULTS)
    for name in ("mine.png", "x-a-20260101.png"):
        (folder / name).touch()
    rows = write(options, [result(0, faces=(1,))])
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert {row["aligned_face"] for row in rows} == {"x-a-1.png"}
    assert {"mine.png", "x-a-20260101.png", "x-a-1.png"} <= found and (len(found) == 3) == replaces


def test_the_pngs_of_a_former_parquet_table_are_known(tmp_path):
    """As those of a CSV table; a file that is none names nothing."""
    options = OutputOptions(table=str(tmp_path / "out.parquet"), aligned_faces=str(tmp_path / "f"))
    write(options, RESULTS[:1])
    assert result_table.named_images(options.table) == {"x-a-0.png", "x-a-1.png"}
    (tmp_path / "out.parquet").write_bytes(b"no table")
    assert result_table.named_images(options.table) == set() == result_table.named_images(tmp_path / "none.csv")


def test_a_resumed_run_keeps_the_pngs_of_before(tmp_path):
    """Remove nothing behind a resume point."""
    options = OutputOptions(table=str(tmp_path / "out.csv"), aligned_faces=str(tmp_path / "f"), replaces=True)
    write(options, RESULTS[:1])
    end = (tmp_path / "out.csv").stat().st_size
    rows = write(options, RESULTS[1:], ResumePoint(source=1, rows=2, end=end, written=(0, 1), faces=2))
    assert [row["aligned_face"] for row in rows][:3] == ["x-a-0.png", "x-a-1.png", ""]
    assert (tmp_path / "f" / "x-a-0.png").exists()
