"""Awkward images of a real person through all of prediction: animations, pages, 12 bits, names that are no text."""

import json
import os

import av
import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from fgnet_jax.media import escaping
from tests.end_to_end.predicting import astronaut, moving, predict, rows  # noqa: F401


@pytest.fixture(scope="module")
def face():
    """Return a photograph of a face, 260x240."""
    return Image.fromarray(astronaut()).crop((100, 0, 360, 240))


def test_an_animation_is_a_video(predict, tmp_path):  # noqa: F811
    """Its face is followed, at the times of the frames; --every and --video take it."""
    first, *others = [Image.fromarray(image) for image in moving(6)[:3]]
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=[200, 50, 100])
    errors = predict("--csv", tmp_path / "r.csv", "--video", tmp_path / "r.mp4", tmp_path / "a.gif")
    table = rows(tmp_path / "r.csv")
    assert [(row["frame"], float(row["timestamp"]), row["success"]) for row in table] == [
        ("1", 0.0, "1"),
        ("2", 0.2, "1"),
        ("3", 0.25, "1"),
    ]
    assert {row["face_id"] for row in table} == {"0"} and "3 of 3 frames succeeded" in errors
    with av.open(str(tmp_path / "r.mp4")) as container:
        drawn = [float(frame.time or 0) for frame in container.decode(video=0)]
    np.testing.assert_allclose(drawn, [0, 0.2, 0.25], atol=1e-3)
    predict("--csv", tmp_path / "e.csv", "--every", 2, tmp_path / "a.gif")
    assert [row["frame"] for row in rows(tmp_path / "e.csv")] == ["1", "3"]
    record = json.loads((tmp_path / "r.csv.json").read_text())
    assert record["inputs"][str(tmp_path / "a.gif")]["animation"] == "GIF"


def test_pages_of_twelve_bits(predict, face, tmp_path):  # noqa: F811
    """Each page has its rows and its overlay, is no black image, and both are said."""
    page = Image.fromarray(np.asarray(face.convert("L")).astype(np.uint16) << 4)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    eight = Image.fromarray(np.asarray(face.convert("L")))
    eight.save(tmp_path / "b.png")
    words = ["--csv", tmp_path / "r.csv", "--overlays", tmp_path / "o", tmp_path / "a.tif", tmp_path / "b.png"]
    errors = predict(*words)
    one, two, reference = rows(tmp_path / "r.csv")
    assert [(row["frame"], row["timestamp"], row["face_id"]) for row in (one, two)] == [("1", "", "0"), ("2", "", "0")]
    scores = [name for name in one if name.endswith("_score")]
    assert scores and [one[name] for name in scores] == [two[name] for name in scores] == [
        reference[name] for name in scores
    ]
    assert sorted(os.listdir(tmp_path / "o" / "a")) == ["000001.png", "000002.png"]
    assert f"{tmp_path / 'a.tif'}: a file of 2 pages" in errors and "12 bits in 16" in errors
    record = json.loads((tmp_path / "r.csv.json").read_text())["inputs"][str(tmp_path / "a.tif")]
    assert (record["pages"], record["sample_bits"]) == (2, 12)


def test_a_name_that_is_no_text_is_escaped_everywhere(predict, face, tmp_path):  # noqa: F811
    r"""All files are UTF-8, hold `\xff`, and the file's name can be got back; a message says so."""
    folder = tmp_path / "faces"
    folder.mkdir()
    face.save(folder / "b.png")
    os.rename(folder / "b.png", os.fsencode(folder) + b"/\xffb.png")
    name = str(folder) + r"/\xffb.png"
    errors = predict(
        "--csv", tmp_path / "r.csv", "--heatmaps", tmp_path / "r.npz", "--overlays", tmp_path / "o", folder
    )  # fmt: skip
    assert [row["input"] for row in rows(tmp_path / "r.csv")] == [name]
    assert (tmp_path / "r.csv").read_bytes().decode("utf-8")
    assert os.path.exists(escaping.unescaped(name)) and f"{name}: {escaping.NOTICE}" in errors
    assert list(json.loads((tmp_path / "r.csv.json").read_bytes().decode("utf-8"))["inputs"]) == [name]
    with np.load(tmp_path / "r.npz") as archive:
        assert archive["input"].tolist() == [name]
    assert os.listdir(os.fsencode(tmp_path / "o")) == [rb"\xffb.png"]
    predict("--csv", tmp_path / "r.parquet", "--heatmaps", tmp_path / "r.zarr", escaping.unescaped(name))
    assert pyarrow.parquet.read_table(tmp_path / "r.parquet")["input"].to_pylist() == [name]
    record = (tmp_path / "r.parquet.json").read_bytes().decode("utf-8")
    assert "udcff" not in record and json.loads(record)["arguments"]["inputs"] == [name]
