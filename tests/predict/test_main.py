"""The command line, as a user runs it: real files of all kinds in, a table, an archive and overlays out."""

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import fgnet_jax
from fgnet_jax import aus
from fgnet_jax.media import camera, video
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.predict import __main__ as predict

AUS = aus.CORPUS_AUS["disfa"]
SIDE = TINY.image_size


@pytest.fixture(scope="module", autouse=True)
def compilation_cache(tmp_path_factory):
    """Let the processes that the tests start share their compiled programs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def command(*arguments, **options):
    """Run the command in a separate process."""
    words = [sys.executable, "-m", "fgnet_jax.predict", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, **options)


def face(path, seed=0, size=(SIDE, SIDE)):
    """Write a random image, and return its path."""
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def rows(path):
    """Read a table as a list of dictionaries."""
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def mixed_run(directory, tmp_path_factory):
    """Run the command over good, odd and broken files; return the folder, the inputs and the finished process."""
    folder = tmp_path_factory.mktemp("mixed")
    sources = [
        face(folder / "x" / "a.png", 1),
        folder / "absent.png",
        face(folder / "y" / "a.png", 2),
        face(folder / "oblong.png", size=(48, 64)),
        face(folder / "large.jpg", 3, size=(100, 100)),
        folder / "text.jpg",
        folder / "empty.png",
        folder / "cut.png",
        face(folder / "last.bmp", 4),
    ]
    sources[5].write_text("not an image")
    sources[6].touch()
    sources[7].write_bytes(sources[0].read_bytes()[:3000])
    results = ("--csv", folder / "out" / "r.csv", "--heatmaps", folder / "r.npz", "--overlays", folder / "overlays")
    done = command("--weights", directory, "--aligned", "--batch_size", 2, *results, *sources)
    return folder, [str(source) for source in sources], done


def test_a_mixed_run_succeeds(mixed_run):
    """Continue after broken images, name each with its reason, and count those that succeeded."""
    folder, sources, done = mixed_run
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    for i, reason in {1: "no such file", 3: "not square", 5: "not an image", 6: "empty", 7: "cut off"}.items():
        assert any(sources[i] in line and reason in line for line in lines), reason
    assert any("large.jpg" in line and "resized from 100x100 to 64x64" in line for line in lines)
    assert "4 of 9 images succeeded" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_weights_that_know_rendered_faces_only_say_so(directory, tmp_path, capsys):
    """A line on standard error and a key in the JSON; the table has the same bytes."""
    _, variables, meta = weights.load(directory)
    record = {"corpus": "synthetic_disfa", "subjects": {"synthetic_disfa": ["SN001"]}}
    meta = dataclasses.replace(meta, corpus="synthetic_disfa", extra={"trained_on": record})
    weights.save(tmp_path / "rendered", TINY, variables, meta)
    image, line = face(tmp_path / "a.png"), "fgnet_jax.predict: these weights have learnt from rendered faces only: "
    for path, learnt in ((directory, ["disfa"]), (tmp_path / "rendered", "rendered faces only")):
        table = tmp_path / f"{path.name}.csv"
        words = ["--weights", path, "--aligned", "--csv", table, image]
        assert predict.main(list(map(str, words))) == 0
        assert (line in capsys.readouterr().err) == (path != directory)
        assert json.loads((tmp_path / f"{table.name}.json").read_text())["learnt_from"] == learnt
    assert (tmp_path / "rendered.csv").read_bytes() == (tmp_path / f"{directory.name}.csv").read_bytes()


def test_the_table_has_a_row_for_every_input_in_order(mixed_run, directory):
    """Write the detector's scores, and empty cells for failures."""
    folder, sources, _ = mixed_run
    table = rows(folder / "out" / "r.csv")
    assert [row["input"] for row in table] == sources
    assert [row["success"] for row in table] == list("101010001")
    assert list(table[0])[:6] == ["input", "frame", "timestamp", "face_id", "confidence", "success"]
    assert list(table[0])[6:12] == [*(f"FaceRect{s}" for s in ("X", "Y", "Width", "Height")), "AU01_c", "AU01_score"]
    assert len(table[0]) == 10 + 2 * len(AUS) + 1 and list(table[0])[-1] == "overlay"
    assert {name for name, text in table[1].items() if text} == {"input", "frame", "success"}
    assert [table[4][f"FaceRect{side}"] for side in ("X", "Y", "Width", "Height")] == ["0.0", "0.0", "100.0", "100.0"]
    pixels = np.stack([np.asarray(Image.open(sources[i])) for i in (0, 2, 8)])
    expected = fgnet_jax.Detector.load(directory).predict(pixels)
    for row, scores, present in zip([table[i] for i in (0, 2, 8)], expected.scores, expected.present, strict=True):
        np.testing.assert_allclose([float(row[f"{aus.label(au)}_score"]) for au in AUS], scores, atol=1e-6)
        assert [row[f"{aus.label(au)}_c"] for au in AUS] == [str(int(flag)) for flag in present]


def test_the_archive_matches_the_table(mixed_run):
    """Match row by row, with NaN for failures."""
    folder, sources, _ = mixed_run
    with np.load(folder / "r.npz") as archive:
        assert archive["input"].tolist() == sources and tuple(archive["aus"]) == AUS
        assert archive["heatmaps"].shape == (9, TINY.heatmap_size, TINY.heatmap_size, len(AUS))
        assert np.abs(archive["heatmaps"][[0, 2, 4, 8]]).max() <= 1
        assert np.isnan(archive["heatmaps"]).all((1, 2, 3)).tolist() == [c == "0" for c in "101010001"]
        for row, scores in zip(rows(folder / "out" / "r.csv"), archive["scores"], strict=True):
            if row["success"] == "1":
                assert np.float32(row["AU12_score"]) == scores[AUS.index(12)]
                assert row["AU12_c"] == str(int(scores[AUS.index(12)] > 0))


def test_every_success_has_its_overlay(mixed_run):
    """Keep equal names from two folders apart."""
    folder, _, _ = mixed_run
    assert sorted(os.listdir(folder / "overlays")) == ["large.png", "last.png", "x-a.png", "y-a.png"]
    with Image.open(folder / "overlays" / "x-a.png") as overlay:
        assert overlay.format == "PNG" and overlay.height >= 600


def test_without_a_file_the_table_goes_to_standard_output(directory, tmp_path):
    """Write nothing else to it."""
    done = command("--weights", directory, "--aligned", face(tmp_path / "a.png"))
    header, row, end = done.stdout.split("\n")
    assert (
        done.returncode == 0
        and header.startswith("input,frame,timestamp,face_id")
        and row.count(",") == header.count(",")
    )
    assert end == ""


def test_nothing_readable_is_status_1(directory, tmp_path):
    """Write the rows nevertheless."""
    (tmp_path / "no.png").write_text("not an image")
    status = predict.main(
        ["--weights", str(directory), "--aligned", "--csv", str(tmp_path / "r.csv"), str(tmp_path / "no.png")]
    )
    assert status == 1 and [row["success"] for row in rows(tmp_path / "r.csv")] == ["0"]


def test_scores_that_are_not_numbers_are_failures(tmp_path, capfd):
    """Report broken weights: they must not look like a face without AUs."""
    variables = fgnet.init(TINY)
    variables.params["interpreter/output/bias"] = np.full_like(variables.params["interpreter/output/bias"], np.nan)
    weights.save(tmp_path / "w", TINY, variables, weights.WeightsMeta(model={}, aus=AUS))
    image = face(tmp_path / "a.png")
    arguments = ["--weights", tmp_path / "w", "--aligned", "--csv", tmp_path / "r.csv", image]
    assert predict.main([str(word) for word in arguments]) == 1
    assert rows(tmp_path / "r.csv")[0]["success"] == "0" and "not finite" in capfd.readouterr().err


def test_results_are_replaced_where_that_is_asked_for(directory, tmp_path):
    """The table, its JSON and the overlays; none is left of the former run that the new one does not write."""
    words = ["--weights", str(directory), "--aligned", "--csv", str(tmp_path / "r.csv")]
    words += ["--overlays", str(tmp_path / "o"), str(face(tmp_path / "a.png"))]
    assert predict.main(words) == 0
    (tmp_path / "r.csv").write_text("x")
    (tmp_path / "o" / "a.png").write_text("x")
    assert predict.main(words) == 2 and (tmp_path / "r.csv").read_text() == "x"
    assert predict.main([*words, "--overwrite"]) == 0
    assert len(rows(tmp_path / "r.csv")) == 1
    with Image.open(tmp_path / "o" / "a.png") as overlay:
        assert overlay.height >= 600


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_reported(directory, tmp_path):
    """Exit with status 1 and a sentence, without traceback."""
    done = command("--weights", directory, "--aligned", "--csv", "/dev/full", face(tmp_path / "a.png"))
    assert done.returncode in (1, 2) and "No space left" in done.stderr and "Traceback" not in done.stderr


def test_a_reader_that_ends_early_gives_no_traceback(directory, tmp_path):
    """End quietly, as in `... | head -1`."""
    words = f"{sys.executable} -m fgnet_jax.predict --weights {directory} --aligned {face(tmp_path / 'a.png')}"
    done = subprocess.run(["bash", "-c", f"{words} | true"], capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_stopped_run_leaves_whole_rows(directory, tmp_path, stop):
    """Have rows on disk as they come; close the archive when interrupted, and leave none when killed."""
    image = face(tmp_path / "a.png")
    table, archive = tmp_path / "r.csv", tmp_path / "r.npz"
    words = [sys.executable, "-m", "fgnet_jax.predict", "--weights", directory, "--aligned", "--batch_size", "1"]
    words += ["--csv", table, "--heatmaps", archive, "--overlays", tmp_path / "overlays", *[image] * 2000]
    with subprocess.Popen(list(map(str, words)), stderr=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 120
        while not table.exists() or table.read_bytes().count(b"\n") < 4:
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.02)
        process.send_signal(stop)
        status = process.wait(60)
    finished = rows(table)
    assert table.read_bytes().endswith(b"\n") and 3 <= len(finished) < 2000
    assert all(row["success"] == "1" and row["AU26_score"] for row in finished)
    if stop == signal.SIGKILL:
        assert not archive.exists() and not list(tmp_path.glob(".*.tmp"))
    else:
        assert status == 130
        with np.load(archive) as loaded:
            assert len(loaded["heatmaps"]) in (len(finished), len(finished) + 1)


def test_results_do_not_depend_on_the_batch_size(directory, tmp_path):
    """Pad batches to one shape."""
    sources = [str(face(tmp_path / f"{i}.png", i)) for i in range(5)]
    sources.insert(2, str(tmp_path / "absent"))
    tables = []
    for size in ("1", "3", "100"):
        path = str(tmp_path / f"{size}.csv")
        flags = ["--weights", str(directory), "--aligned", "--batch_size", size, "--csv", path]
        assert predict.main([*flags, *sources]) == 0
        tables.append(rows(path))
    for table in tables[1:]:
        assert [row["input"] for row in table] == sources
        for first, other in zip(tables[0], table, strict=True):
            assert first["success"] == other["success"]
            if first["success"] == "1":
                assert abs(float(first["AU06_score"]) - float(other["AU06_score"])) < 1e-6


def patient_camera(table, frames):
    """Return a camera that gives each frame when the table has a row of the one before, and then ends."""

    def read(device):
        for k, frame in enumerate(frames):
            limit = time.monotonic() + 60
            while k and (not table.exists() or table.read_bytes().count(b"\n") < k + 1):
                assert time.monotonic() < limit
                time.sleep(0.005)
            yield dataclasses.replace(frame, captured=time.monotonic())

    return read


def test_a_camera_is_read_until_it_ends(directory, tmp_path, monkeypatch):
    """Write rows as frames arrive; smooth causally, and record it in the JSON, with what became of the frames."""
    images = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    frames = [video.VideoFrame(k + 1, k / 10, image) for k, image in enumerate(images)]
    monkeypatch.setattr(camera, "frames", patient_camera(tmp_path / "r.csv", frames))
    flags = ["--weights", str(directory), "--aligned", "--csv", str(tmp_path / "r.csv"), "--smooth", "--webcam", "0"]
    assert predict.main(flags) == 0
    assert [(row["input"], row["frame"], row["timestamp"]) for row in rows(tmp_path / "r.csv")] == [
        ("webcam 0", str(k + 1), str(k / 10)) for k in range(4)
    ]
    record = json.loads((tmp_path / "r.csv.json").read_text())
    assert record["smoothing"]["causal"] and record["frame_rates"] == {"webcam 0": 10.0} and record["complete"]
    live = record["live"]
    assert (live["captured"], live["predicted"], live["dropped"]) == (4, 4, 0)
    assert 0 < live["latency_ms"]["median"] <= live["latency_ms"]["most"]


def test_help_does_not_load_jax():
    """List the exit statuses."""
    code = "import sys; from fgnet_jax.predict import __main__ as predict\n"
    code += "try: predict.main(['--help'])\nfinally: assert 'jax' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "Exit status" in done.stdout and "--overlays" in done.stdout
