"""Tables that are resumed: a finished one is complete at once; other settings, inputs and files are refused."""

import csv
import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.media import images
from fgnet_jax.models import weights
from fgnet_jax.models.config import TINY
from fgnet_jax.predict import __main__ as predict
from fgnet_jax.predict.outputs import OpenOutputs
from fgnet_jax.predict.record_files import RecordFiles
from tests.media.test_video import write_video


@pytest.fixture(scope="module")
def finished(directory, tmp_path_factory):
    """A folder with two images and the finished table of the first, and the command's words without inputs."""
    folder = tmp_path_factory.mktemp("finished")
    for k, name in enumerate("ab"):
        Image.new("RGB", (TINY.image_size, TINY.image_size), (40 * k, 90, 120)).save(folder / f"{name}.png")
    words = ["--weights", str(directory), "--aligned", "--csv", str(folder / "r.csv")]
    assert predict.main([*words, str(folder / "a.png")]) == 0
    return folder, words


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of that table, and the command that resumes it."""
    folder, words = finished
    for name in ("r.csv", "r.csv.json"):
        shutil.copy(folder / name, tmp_path)
    return tmp_path / "r.csv", [*words[:-1], str(tmp_path / "r.csv"), "--resume"]


def refuse(*_, **__):
    """Fail where something is read."""
    raise AssertionError("read for nothing")


def test_a_finished_table_is_complete_at_once(finished, copy, monkeypatch, capsys):
    """Neither weights nor images are read, and nothing is written."""
    table, words = copy
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in table.parent.iterdir()}
    monkeypatch.setattr(weights, "load_weights", refuse)
    monkeypatch.setattr(images, "load", refuse)
    assert predict.main([*words, str(finished[0] / "a.png")]) == 0
    assert capsys.readouterr().err == f"fgnet_jax.predict: {table} is complete\n"
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in table.parent.iterdir()} == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--every", "2"), "every: 1 there, 2 now"),
        (("--smooth",), "smoothing: None there"),
        (("--dtype", "bfloat16"), "precision: 'float32' there, 'bfloat16' now"),
        (("--batch_size", "7"), "batch_size"),
    ],
    ids=["every", "smooth", "dtype", "batch size"],
)
def test_other_options_are_refused(finished, copy, capsys, flags, message):
    """By name; the table stays."""
    before = copy[0].read_bytes()
    if flags[0] == "--batch_size":  # of images alone, batches are no larger than their number
        assert predict.main([*copy[1], *flags, str(finished[0] / "a.png")]) == 0
    else:
        assert predict.main([*copy[1], *flags, str(finished[0] / "a.png")]) == 2
        assert message in capsys.readouterr().err
    assert copy[0].read_bytes() == before


def test_other_inputs_are_refused(finished, copy, capsys):
    """Another file, and the same name with another content."""
    assert predict.main([*copy[1], str(finished[0] / "b.png")]) == 2
    assert "inputs are others: " in capsys.readouterr().err
    record = json.loads((copy[0].parent / "r.csv.json").read_text())
    record["inputs"][str(finished[0] / "a.png")]["bytes"] += 1
    (copy[0].parent / "r.csv.json").write_text(json.dumps(record))
    assert predict.main([*copy[1], str(finished[0] / "a.png")]) == 2
    assert "a.png has changed, it had " in capsys.readouterr().err


def test_further_inputs_are_predicted(finished, copy):
    """A folder into which another image was put since."""
    inputs = [str(finished[0] / name) for name in ("a.png", "b.png")]
    assert predict.main([*copy[1], "--batch_size", "1", *inputs]) == 0
    with open(copy[0], newline="") as stream:
        assert [row["input"] for row in csv.DictReader(stream)] == inputs
    assert list(json.loads((copy[0].parent / "r.csv.json").read_text())["inputs"]) == inputs


def test_a_table_that_lost_rows_is_not_complete(finished, copy):
    """It gets them again."""
    whole = copy[0].read_bytes()
    copy[0].write_bytes(whole[: whole.index(b"\n") + 1])
    assert predict.main([*copy[1], str(finished[0] / "a.png")]) == 0
    assert copy[0].read_bytes() == whole


def draw(path, level, date=0):
    """Write an image, which always has the same size, and return its path."""
    Image.new("RGB", (TINY.image_size, TINY.image_size), (level, 90, 120)).save(path.with_suffix(".bmp"))
    path.with_suffix(".bmp").replace(path)
    os.utime(path, ns=(date * 10**9, date * 10**9))
    return str(path)


class Killed(BaseException):
    """What stands for a kill: nothing more is written."""


@pytest.fixture
def killed(directory, monkeypatch):
    """Return a function that runs the command, and kills it after so many frames were written."""

    def killed(count, *words):
        original, written = OpenOutputs.write, []

        def write(self, *arguments):
            faces = original(self, *arguments)
            written.append(1)
            if len(written) == count:
                raise Killed
            return faces

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(OpenOutputs, "write", write)
            predict.main(["--weights", str(directory), "--aligned", *map(str, words)])

    return killed


@pytest.fixture
def stills(tmp_path):
    """Six images."""
    return [draw(tmp_path / f"{k}.png", 10 * k, date=k) for k in range(6)]


def check_sums(record):
    """Check that a record is complete, and has the sums of the files that are there."""
    assert record["complete"]
    for name, facts in record["inputs"].items():
        with open(name, "rb") as stream:
            assert facts["sha256"] == hashlib.file_digest(stream, "sha256").hexdigest(), name


@pytest.mark.parametrize(("index", "status"), [(0, 2), (1, 2), (2, 0), (5, 0)])
def test_a_file_that_was_replaced_after_a_kill_is_refused_if_its_rows_stay(
    directory, killed, stills, tmp_path, capsys, index, status
):
    """Though no sum of it was known yet: rows of two files in one table would be certified as those of one."""
    words = ["--batch_size", "1", "--csv", tmp_path / "r.csv", *stills]
    killed(4, *words)
    record = json.loads((tmp_path / "r.csv.json").read_text())
    assert [set(facts) >= {"bytes", "mtime_ns"} for facts in record["inputs"].values()] == [True] * 6
    rows = (tmp_path / "r.csv").read_bytes()
    draw(tmp_path / f"{index}.png", 200, date=99)
    assert predict.main(["--weights", str(directory), "--aligned", "--resume", *map(str, words)]) == status
    if status:
        errors = capsys.readouterr().err.splitlines()
        assert f"{index}.png has changed" in errors[-1] and "rows may be those of another file" in errors[-1]
        assert (tmp_path / "r.csv").read_bytes() == rows
        return
    check_sums(json.loads((tmp_path / "r.csv.json").read_text()))
    assert predict.main(["--weights", str(directory), "--aligned", "--csv", str(tmp_path / "n.csv"), *stills]) == 0
    scores = [[row["AU12_score"] for row in read(tmp_path / name)] for name in ("r.csv", "n.csv")]
    np.testing.assert_allclose(*np.array(scores, float), atol=1e-5)


def read(path):
    """Return the rows of a table."""
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_complete_table_of_a_file_that_was_replaced_is_not_complete(directory, tmp_path, capsys):
    """Though it is of the same length; one that only has another date is the same file."""
    path = draw(tmp_path / "a.png", 1)
    words = ["--weights", str(directory), "--aligned", "--csv", str(tmp_path / "r.csv"), path]
    assert predict.main(words) == 0
    draw(tmp_path / "a.png", 1, date=9)
    assert predict.main([*words, "--resume"]) == 0 and "is complete" in capsys.readouterr().err
    draw(tmp_path / "a.png", 2, date=9)
    assert predict.main([*words, "--resume"]) == 2
    assert "a.png has changed, its SHA-256 is another" in capsys.readouterr().err.splitlines()[-1]


def test_a_file_that_changes_during_a_run_gets_no_sum(directory, tmp_path, capsys, monkeypatch):
    """It may be that of another file than the one whose rows are written; this is reported."""
    path, load = draw(tmp_path / "a.png", 1), images.load

    def replaced(path):
        loaded = load(path)
        draw(tmp_path / "a.png", 200, date=9)
        return loaded

    monkeypatch.setattr(images, "load", replaced)
    words = ["--weights", str(directory), "--aligned", "--csv", str(tmp_path / "r.csv"), path]
    assert predict.main(words) == 0
    assert "a.png has changed since this run began" in capsys.readouterr().err
    assert "sha256" not in json.loads((tmp_path / "r.csv.json").read_text())["inputs"][path]
    assert predict.main([*words, "--resume"]) == 2


def test_a_video_that_is_gone_after_a_kill_is_no_row(directory, killed, tmp_path, capsys):
    """The frames that are not written yet would be missing without a word."""
    write_video(tmp_path / "v.mp4", [np.full((64, 64, 3), 9 * k, np.uint8) for k in range(9)])
    words = ["--batch_size", "1", "--csv", tmp_path / "r.csv", tmp_path / "v.mp4", draw(tmp_path / "a.png", 1)]
    killed(5, *words)
    (tmp_path / "v.mp4").unlink()
    assert predict.main(["--weights", str(directory), "--aligned", "--resume", *map(str, words)]) == 2
    assert "v.mp4 is gone" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("count", [5, 7])
def test_all_records_are_complete_after_one_kill(directory, killed, tmp_path, capsys, count):
    """Also that of an image before a video whose first batch, with the image in it, is smoothed again."""
    write_video(tmp_path / "v.mp4", [np.full((64, 64, 3), 9 * k, np.uint8) for k in range(9)])
    inputs = [draw(tmp_path / "a.png", 1), tmp_path / "v.mp4", draw(tmp_path / "b.png", 2)]
    words = ["--per_input", tmp_path / "t", "--smooth", "--batch_size", "3", *inputs]
    killed(count, *words)
    again = ["--weights", str(directory), "--aligned", "--resume", *map(str, words)]
    assert predict.main(again) == 0
    for name in ("a", "v", "b"):
        check_sums(json.loads((tmp_path / "t" / f"{name}.csv.json").read_text()))
    capsys.readouterr()
    assert predict.main(again) == 0 and "is complete" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "count"),
    [
        (("--csv", "r.parquet"), 4),
        (("--csv", "r.csv", "--dialect", "libreface"), 4),
        (("--per_input", "t", "--per_input_format", "parquet"), 3),  # the last image has no record yet
    ],
    ids=["parquet", "libreface", "per input"],
)
def test_rows_stay_until_the_record_says_that_the_table_is_complete(
    directory, stills, tmp_path, monkeypatch, capsys, flags, count
):
    """A run that is killed just before is resumed at its last batch; one that is killed after, is complete."""
    monkeypatch.chdir(tmp_path)
    words = ["--weights", str(directory), "--aligned", "--batch_size", "1", *flags, *stills]
    original = RecordFiles.write_all

    def write_all(self, record, *, complete, last):
        if complete:
            raise Killed
        original(self, record, complete=complete, last=last)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RecordFiles, "write_all", write_all)
        predict.main(words)
    assert predict.main([*words, "--resume"]) == 0
    assert f"resuming after {count} rows" in capsys.readouterr().err and not list(tmp_path.rglob("*.rows.csv"))
    assert predict.main([*words, "--resume"]) == 0 and "is complete" in capsys.readouterr().err
