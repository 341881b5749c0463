"""Results in folders: a table for each input, aligned faces and drawings, whichever way a run ends."""

import json
import re
import signal

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from fgnet_jax.predict import __main__ as command
from fgnet_jax.predict import request
from tests.end_to_end.predicting import AUS, astronaut, moving, predict, rows  # noqa: F401
from tests.end_to_end.test_predict_media import kill
from tests.miniature import write_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of an image in two subfolders, one without a face, and a video of 48 frames."""
    base = tmp_path_factory.mktemp("inputs")
    for name in ("x", "y"):
        (base / name).mkdir()
        Image.fromarray(astronaut()).save(base / name / "photo.png")
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(base / "empty.png")
    write_video(base / "clip.mp4", moving(48), "libx264", 25)
    return base


INPUTS = ("x/photo.png", "clip.mp4", "empty.png", "y/photo.png")
STEMS = ("x-photo", "clip", "empty", "y-photo")


def read(path):
    """Return the bytes of a table, or the values of a Parquet one."""
    return pyarrow.parquet.read_table(path).to_pydict() if path.suffix == ".parquet" else path.read_bytes()


def test_tables_and_pngs_of_each_input(predict, folder, tmp_path):  # noqa: F811
    """Write a table and a record for each input, and crops that `--aligned` predicts to the same scores."""
    words = (
        "--per_input",
        tmp_path / "t",
        "--aligned_faces",
        tmp_path / "f",
        "--overlays",
        tmp_path / "o",
        "--every",
        8,
    )
    predict(*words, *INPUTS, cwd=folder)
    tables = {stem: rows(tmp_path / "t" / f"{stem}.csv") for stem in STEMS}
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == sorted(
        f"{stem}{suffix}" for stem in STEMS for suffix in (".csv", ".csv.json")
    )
    assert [{row["input"] for row in tables[stem]} for stem in STEMS] == [{name} for name in INPUTS]
    assert [len(tables[stem]) for stem in STEMS] == [1, 6, 1, 1]
    for stem, name in zip(STEMS, INPUTS, strict=True):
        record = json.loads((tmp_path / "t" / f"{stem}.csv.json").read_text())
        assert record["complete"] and list(record["inputs"]) == [name]
        assert len(record["inputs"][name]["sha256"]) == 64 and list(record["frame_rates"]) == [name] * (stem == "clip")
    named = [row for stem in STEMS for row in tables[stem] if row["aligned_face"]]
    for column, place, example in (("aligned_face", "f", "x-photo-0.png"), ("overlay", "o", "x-photo.png")):
        written = {path.relative_to(tmp_path / place).as_posix() for path in (tmp_path / place).rglob("*.png")}
        assert written == {row[column] for row in named} and example in written
    predict("--aligned", "--csv", tmp_path / "again.csv", "f", cwd=tmp_path)
    again = {row["input"]: row for row in rows(tmp_path / "again.csv")}
    for row in named:
        same = again[f"f/{row['aligned_face']}"]
        for column in (f"AU{au:02d}_score" for au in AUS):
            np.testing.assert_allclose(float(row[column]), float(same[column]), atol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--aligned_faces", "."], "a-0.png is both an image to read and a result to write"),
        (["--overlays", "."], "a-0.png is both an image to read and a result to write"),
        (["--overlays", "new", "--aligned_faces", "new/../new"], "they need two folders"),
        (["--aligned_faces", "a.png"], "a.png: it is not a folder"),
        (["--aligned_faces", "files"], "clip: it is not a folder"),
        (["--per_input", "a.png"], "a.png: it is not a folder"),
        (["--per_input", "folders"], "a.csv: it is a folder"),
        (["--per_input", "t", "--csv", "t.csv"], "--csv does not apply"),
        (["--per_input_format", "parquet"], "--per_input DIR is missing"),
    ],
)
def test_folders_that_cannot_be_written_are_refused(tmp_path, monkeypatch, words, message):
    """Refuse, before anything is loaded, what would replace an input or is no folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a-0.png", "clip.mp4", "files/clip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folders" / "a.csv").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    arguments = command.parser().parse_args(["--weights", "w", *words, "a.png", "a-0.png", "clip.mp4"])
    with pytest.raises(request.RequestError, match=re.escape(message)):
        request.checked(arguments)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra",
    [
        ("--batch_size", "3", "--smooth"),
        ("--batch_size", "2", "--per_input_format", "parquet"),
        ("--batch_size", "2", "--dialect", "libreface"),
        ("--batch_size", "2", "--dialect", "openface", "--per_input_format", "parquet"),
    ],
    ids=["csv, smoothed", "parquet", "libreface", "openface"],
)
def test_killed_and_resumed_it_gives_the_same_tables(predict, folder, tmp_path, extra):  # noqa: F811
    """Keep all tables, records and crops of a run that was not stopped, after `kill -9` twice and Ctrl-C once."""
    words = ("--per_input", "t", "--aligned_faces", "f", *extra, *(folder / name for name in INPUTS))
    staged = "parquet" in extra or "libreface" in extra
    suffix = ".parquet" if "parquet" in extra else ".csv"
    for run in (tmp_path / "undisturbed", tmp_path / "disturbed"):
        run.mkdir()
        for count, number, status in ((7, signal.SIGKILL, -9), (19, signal.SIGINT, 130), (33, signal.SIGKILL, -9)):
            if run.name == "disturbed":
                journal = run / "t" / f"clip{suffix}{'.rows.csv' * staged}"
                resume = ["--resume"] if journal.exists() else []
                assert kill(predict.start(*words, *resume, cwd=run), journal, count, number) == status
        predict(*words, *(["--resume"] if run.name == "disturbed" else []), cwd=run)
        assert "is complete" in predict(*words, "--resume", cwd=run)
    one, other = (sorted(p.relative_to(run) for p in run.rglob("*")) for run in sorted(tmp_path.iterdir()))
    assert one == other and not list(tmp_path.rglob("*.rows.csv"))
    for path in one:
        if path.suffix in (".csv", ".parquet"):
            assert read(tmp_path / "undisturbed" / path) == read(tmp_path / "disturbed" / path), path
        if path.suffix == ".json":
            ends, others = (json.loads((tmp_path / run / path).read_text()) for run in ("undisturbed", "disturbed"))
            assert ends["inputs"] == others["inputs"] and ends["complete"] and others["complete"]
