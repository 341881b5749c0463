"""Images and videos of a real person through all of prediction: detected, aligned, scored, drawn, written."""

import dataclasses
import json
import re
import shutil
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

import fgnet_jax
from fgnet_jax import aus
from fgnet_jax.faces import back_projection, dlib_detector, finder
from fgnet_jax.media import frames, sources
from fgnet_jax.metrics import thresholds
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.predict import __main__ as command
from fgnet_jax.train import targets
from tests.end_to_end.predicting import AUS, astronaut, moving, predict, rows  # noqa: F401
from tests.miniature import write_video

LEFT_CORNER = 48
"""The landmark at the left corner of the mouth."""


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """Return the file of the photograph."""
    path = tmp_path_factory.mktemp("photograph") / "astronaut.png"
    Image.fromarray(astronaut()).save(path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Return a video of 48 frames."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, moving(48), "libx264", 25)
    return path


@pytest.fixture(scope="module")
def landmarks():
    """Return her 68 landmarks, as dlib detects them."""
    (face,) = dlib_detector.load(dlib_detector.find_predictor())(astronaut())
    return face.landmarks


def test_a_photograph(predict, photograph, landmarks, tmp_path):  # noqa: F811
    """Detect, score and draw her face, warp its heatmaps back, and record the settings in the JSON."""
    threshold_file = tmp_path / "thresholds.json"
    thresholds.save(threshold_file, aus=AUS, values=[-1.0] * 4 + [1.0] * 4, metadata={})
    predict(
        "--csv", tmp_path / "r.csv", "--overlays", tmp_path / "overlays", "--heatmaps", tmp_path / "r.npz",
        "--heatmaps_on", "image", "--peaks", "--thresholds", threshold_file, photograph,
    )  # fmt: skip
    (row,) = rows(tmp_path / "r.csv")
    assert (row["success"], row["frame"], row["face_id"], row["timestamp"]) == ("1", "1", "0", "")
    x, y, width, height = (float(row[f"FaceRect{name}"]) for name in ("X", "Y", "Width", "Height"))
    nose = landmarks[30]
    assert x < nose[0] < x + width and y < nose[1] < y + height and 70 < width < 140
    assert [row[f"{aus.label(au)}_c"] for au in AUS] == list("11110000")
    with np.load(tmp_path / "r.npz") as archive:
        maps = archive["heatmaps_0000000"]
        assert maps.shape == (512, 512, len(AUS)) and archive["input"].tolist() == [str(photograph)]
    assert maps[int(y) : int(y + height), int(x) : int(x + width)].any((0, 1)).all()
    assert not maps[:, :80].any() and not maps[300:].any() and not maps[:, 360:].any()
    with Image.open(tmp_path / "overlays" / "astronaut.png") as drawn:
        assert drawn.height == 640
    record = json.loads((tmp_path / "r.csv.json").read_text())
    assert record["complete"] and record["thresholds"]["AU01"] == -1.0 and record["corpus"] == "disfa"
    assert record["detector"]["landmarks"].startswith("shape_predictor_68") and len(record["weights"]["sha256"]) == 64
    assert record["precision"] == "float32" and record["device"]["platform"] == "cpu" and record["smoothing"] is None


def face_of(image):
    """Return the face in an image."""
    (frame,) = finder.find(frames.read(sources.given(image)), finder.FinderOptions(largest=True))
    return frame.faces[0]


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_aus_rendered_at_landmarks_are_warped_back_to_them(scale):
    """Stay within 2 pixels of the image: aligned, rendered as training renders them, and warped back."""
    image = astronaut(scale)
    face = face_of(image)
    points = face.alignment.to_aligned(face.face.landmarks)[None].astype(np.float32)
    indices = (LEFT_CORNER, 17, 26, 54)
    centres = tuple(aus.Centres((point,), (point,)) for point in indices)
    maps = np.asarray(targets.targets(jnp.asarray(points), jnp.ones((1, len(indices)), int), centres)[0])
    distances = back_projection.peaks(maps, face.alignment) - face.face.landmarks[list(indices)]
    assert np.linalg.norm(distances, axis=1).max() < 2.0
    warped = back_projection.warp_to_image(maps, face.alignment, *image.shape[1::-1])
    for k, point in enumerate(indices):
        middle = np.argwhere(warped[..., k] > 0.97 * warped[..., k].max()).mean(0)[::-1]
        assert np.linalg.norm(middle - face.face.landmarks[point]) < 2.0


def test_the_command_writes_the_place_of_an_au(predict, photograph, landmarks, tmp_path, monkeypatch):  # noqa: F811
    """Write a peak within 2 pixels of the corner of the mouth, for a network with AU12 there."""
    jax.clear_caches()
    at = face_of(astronaut()).alignment.to_aligned(landmarks[LEFT_CORNER]) * (TINY.heatmap_size / 256)
    size = TINY.heatmap_size
    down, across = np.mgrid[:size, :size]
    blob = 2 * np.exp(-((across - at[0]) ** 2 + (down - at[1]) ** 2) / 8) - 1
    maps = np.broadcast_to(blob[..., None], (size, size, TINY.num_heatmaps)).astype(np.float32)
    monkeypatch.setattr(fgnet, "apply", lambda config, variables, images: np.tile(maps, (len(images), 1, 1, 1)))
    words = ["--weights", predict.weights, "--csv", tmp_path / "r.csv", "--peaks", "--batch_size", 3, photograph]
    try:
        assert command.main([str(word) for word in words]) == 0
    finally:
        jax.clear_caches()  # other tests must not use programs compiled of this network
    (row,) = rows(tmp_path / "r.csv")
    peak = np.array([float(row["AU12_x"]), float(row["AU12_y"])])
    assert np.linalg.norm(peak - landmarks[LEFT_CORNER]) < 2.0


def test_a_video(predict, clip, tmp_path):  # noqa: F811
    """Write one row per frame with its time, the same face_id throughout, and a video of the same length."""
    import av

    errors = predict("--csv", tmp_path / "r.csv", "--video", tmp_path / "r.mp4", "--every", 2, "--benchmark", clip)
    table = rows(tmp_path / "r.csv")
    assert [int(row["frame"]) for row in table] == list(range(1, 49, 2))
    np.testing.assert_allclose([float(row["timestamp"]) for row in table], np.arange(0, 48, 2) / 25, atol=1e-4)
    away = [row for row in table if 26 <= int(row["frame"]) <= 30]
    assert away and all(row["success"] == "0" and not row["AU01_score"] for row in away)
    face_ids = [row["face_id"] for row in table if row["success"] == "1"]
    assert len(face_ids) > 18 and set(face_ids[:10]) == {"0"}
    assert "no face found" in errors and "other frames" in errors
    for stage in ("reading", "finding faces", "aligning faces", "waiting", "network (device)", "drawing and writing"):
        assert re.search(rf"{re.escape(stage)}.* \d+\.\d\d +\d+\.\d\d +\d+\.\d%", errors), stage
    assert max(float(share) for share in re.findall(r" (\d+\.\d)%", errors)) <= 100
    with av.open(str(tmp_path / "r.mp4")) as container:
        assert len([frame.time for frame in container.decode(video=0)]) == len(table)
    assert json.loads((tmp_path / "r.csv.json").read_text())["frame_rates"] == {str(clip): 25.0}


def kill(process, path, count, number=signal.SIGKILL):
    """Stop a run that has written so many rows; return its exit status, or None if it had ended."""
    limit = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") <= count:
        assert time.monotonic() < limit
        if process.poll() is not None:
            return None
        time.sleep(0.002)
    process.send_signal(number)
    process.communicate()
    return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("r.csv", ("--smooth", "--batch_size", "3", "--heatmaps", "r.zarr")),
        ("r.parquet", ("--batch_size", "2", "--dialect", "pyfeat")),
    ],
    ids=["smoothed csv, zarr", "parquet, another dialect"],
)
def test_killed_and_resumed_it_gives_the_same_file(predict, clip, photograph, tmp_path, name, extra):  # noqa: F811
    """Keep face_ids, smoothing and batches of a run that was not stopped, after `kill -9` twice and Ctrl-C once."""
    results, inputs = {}, {}
    for folder in (tmp_path / "undisturbed", tmp_path / "disturbed"):
        folder.mkdir()
        words = ["--csv", name, *extra, photograph, "nowhere.png", clip, photograph]
        if folder.name == "disturbed":
            journal = folder / (name if name.endswith("csv") else f"{name}.rows.csv")
            stops = ((7, signal.SIGKILL, -9), (19, signal.SIGINT, 130), (33, signal.SIGKILL, -9))
            for count, number, status in stops:
                resume = ["--resume"] if journal.exists() else []
                assert kill(predict.start(*words, *resume, cwd=folder), journal, count, number) == status
            words.append("--resume")
        predict(*words, cwd=folder)
        results[folder.name] = (folder / name).read_bytes()
        record = json.loads((folder / f"{name}.json").read_text())
        assert record["complete"] and not list(folder.glob("*.rows.csv"))
        inputs[folder.name] = record["inputs"]
    assert results["disturbed"] == results["undisturbed"] and inputs["disturbed"] == inputs["undisturbed"]
    assert ["sha256" in facts for facts in inputs["disturbed"].values()] == [True, False, True]
    if name.endswith(".parquet"):
        assert pyarrow.parquet.read_table(tmp_path / "disturbed" / name).num_rows >= 51
    else:
        _assert_same_archives(tmp_path)


def _assert_same_archives(folder):
    import zarr

    group, other = (zarr.open_group(folder / name / "r.zarr", mode="r") for name in ("undisturbed", "disturbed"))
    for name, array in group.arrays():
        np.testing.assert_array_equal(np.asarray(array), np.asarray(other[name]))


@pytest.mark.slow
def test_a_complete_run_resumed_stays_as_it_is(predict, photograph, tmp_path):  # noqa: F811
    """Refuse other arguments, inputs or weights; the weights' folder may be moved."""
    words = ("--csv", tmp_path / "r.csv", photograph, photograph)
    predict(*words)
    before = (tmp_path / "r.csv").read_bytes()
    predict(*words, "--resume")
    assert (tmp_path / "r.csv").read_bytes() == before
    moved = dataclasses.replace(predict, weights=tmp_path / "moved")
    shutil.copytree(predict.weights, moved.weights)
    moved(*words, "--resume")
    assert (tmp_path / "r.csv").read_bytes() == before
    assert "every: 1 there, 2 now" in predict(*words, "--resume", "--every", 2, status=2)
    (tmp_path / "other.png").write_bytes(photograph.read_bytes())
    other = ("--csv", tmp_path / "r.csv", "--resume", tmp_path / "other.png")
    assert "inputs are others" in predict(*other, status=2)
    assert (tmp_path / "r.csv").read_bytes() == before


@pytest.fixture(scope="module")
def trouble(tmp_path_factory, photograph, clip):
    """Write a folder of inputs that cannot be read; return it with a part of the message for each."""
    folder = tmp_path_factory.mktemp("trouble")
    (folder / "empty folder").mkdir()
    (folder / "zero.png").touch()
    (folder / "text.jpg").write_text("not an image")
    (folder / "cut.png").write_bytes(photograph.read_bytes()[:20_000])
    Image.new("L", (10_000, 10_000)).save(folder / "huge.png")
    Image.fromarray(np.full((300, 300, 3), 90, np.uint8)).save(folder / "wall.png")
    (folder / "zero.mp4").touch()
    write_video(folder / "cut.avi", moving(24))
    video = (folder / "cut.avi").read_bytes()
    (folder / "cut.avi").write_bytes(video[: len(video) // 2])
    return folder, {
        "nowhere.png": "no such file",
        "empty folder": "without images or videos",
        "zero.png": "empty",
        "text.jpg": "not an image",
        "cut.png": "cut off",
        "huge.png": "larger than",
        "wall.png": "no face found",
        "zero.mp4": "the file is empty",
        "none*.jpg": "no file matches",
        "@nolist.txt": "list cannot be read",
    }


def test_every_bad_input_has_its_row_and_reason(predict, trouble, photograph, tmp_path):  # noqa: F811
    """Exit with status 0, with results for the good inputs between bad ones."""
    folder, reasons = trouble
    words = [f"@{folder / name[1:]}" if name[0] == "@" else folder / name for name in reasons]
    errors = predict("--csv", tmp_path / "r.csv", photograph, *words, folder / "cut.avi", photograph)
    table = rows(tmp_path / "r.csv")
    for word, reason in zip(words, reasons.values(), strict=True):
        (row,) = [row for row in table if row["input"] == str(word)]
        assert row["success"] == "0" and not row["AU01_c"] and not row["FaceRectX"]
        assert any(str(word) in line and reason in line for line in errors.splitlines()), (word, errors)
    assert [table[0]["success"], table[-1]["success"]] == ["1", "1"]
    assert [row["input"] for row in table[1 : len(words) + 1]] == [str(word) for word in words]
    assert any(row["success"] == "1" for row in table if row["input"].endswith("cut.avi"))
    assert any("cut.avi" in line and "damaged" in line for line in errors.splitlines()), errors


def test_a_video_that_cannot_be_read_is_not_drawn(predict, trouble, tmp_path):  # noqa: F811
    """Write its row without a result, and leave no video file that could not be played."""
    folder, _ = trouble
    errors = predict("--csv", tmp_path / "r.csv", "--video", tmp_path / "r.mp4", folder / "zero.mp4", status=1)
    assert "zero.mp4: cannot be read as video: the file is empty" in errors
    assert [row["success"] for row in rows(tmp_path / "r.csv")] == ["0"] and not list(tmp_path.glob("r.mp4*"))


def test_nothing_but_bad_inputs_is_status_1(predict, trouble, tmp_path):  # noqa: F811
    """Write their rows nevertheless."""
    folder, _ = trouble
    predict("--csv", tmp_path / "r.csv", folder / "wall.png", folder / "zero.mp4", "nowhere", status=1)
    assert [row["success"] for row in rows(tmp_path / "r.csv")] == ["0", "0", "0"]


@pytest.mark.slow
def test_paths_on_standard_input_and_several_devices(predict, photograph, clip, tmp_path):  # noqa: F811
    """Split the batch over the devices, with the scores of one device."""
    (tmp_path / "list.txt").write_text(f"{photograph}\n{clip}\n")
    tables = []
    for devices, batch in ((1, 1), (2, 4), (2, 3)):
        with open(tmp_path / "list.txt") as stream:
            path = tmp_path / f"{devices}{batch}.csv"
            predict("--csv", path, "--batch_size", batch, "--every", 8, "-", stdin=stream, devices=devices)
        record = json.loads((tmp_path / f"{devices}{batch}.csv.json").read_text())
        assert record["device"]["count"] == (2 if batch == 4 else 1)
        tables.append(rows(path))
    for table in tables[1:]:
        for first, other in zip(tables[0], table, strict=True):
            assert (first["input"], first["frame"], first["FaceRectX"]) == (
                other["input"],
                other["frame"],
                other["FaceRectX"],
            )
            assert abs(float(first["AU06_score"] or 0) - float(other["AU06_score"] or 0)) < 1e-6


def test_python_callers_get_the_same_results(predict, photograph, clip, tmp_path):  # noqa: F811
    """Return rows, a data frame, heatmaps and drawings, from paths, arrays and iterators."""
    predict("--csv", tmp_path / "r.csv", photograph, "nowhere.png", clip)
    detector = fgnet_jax.Detector.load(predict.weights, batch_size=1)
    predictions = detector.predict([photograph, "nowhere.png", clip])
    frame, table = predictions.to_pandas(), rows(tmp_path / "r.csv")
    assert list(frame.columns) == list(table[0]) and len(frame) == len(table) == len(predictions)
    assert frame["input"].tolist() == [row["input"] for row in table]
    expected = [float(row["AU12_score"] or "nan") for row in table]
    np.testing.assert_allclose(frame["AU12_score"].to_numpy(np.float32), expected, atol=1e-6)
    assert (
        predictions.problems[0] is None
        and "no such file" in str(predictions.problems[1])
        and frame["AU01_c"].isna().tolist()[1]
    )
    assert (
        predictions.heatmaps is not None
        and np.isnan(predictions.heatmaps[1]).all()
        and np.isfinite(predictions.heatmaps[0]).all()
    )
    assert predictions.plot(0).height == 640 and predictions.plot(2, whole=True).size[0] > 850
    with pytest.raises(ValueError, match="row 1 has no result: there is no such file"):
        predictions.plot(1)
    arrays = detector.predict(iter([astronaut(), moving(1)[0]]), heatmaps=False)
    assert arrays.heatmaps is None and [row.input for row in arrays.rows] == ["array 0", "array 1"]
    np.testing.assert_allclose(arrays.scores[0], predictions.scores[0], atol=1e-6)
