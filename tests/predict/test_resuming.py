"""A finished table, resumed: complete at once, without the weights' arrays; other settings and inputs are refused."""

import csv
import json
import shutil

import pytest
from PIL import Image

from fgnet_jax.media import images
from fgnet_jax.models import weights
from fgnet_jax.models.config import TINY
from fgnet_jax.predict import __main__ as predict


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
