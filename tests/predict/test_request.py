"""Requests that cannot work: refused at once, before weights are loaded and before anything is touched."""

import importlib.util
import sys

import pytest

from fgnet_jax.models import weights
from fgnet_jax.predict import __main__ as predict
from tests.predict.test_main import face


def usage_cases(folder, directory):
    """Return command lines that cannot work, with a part of their message."""
    image, weights_flag = face(folder / "a.png"), ("--weights", directory)
    blocker = folder / "file"
    blocker.touch()
    return {
        "no images": ((*weights_flag, "--aligned"), "required: INPUT"),
        "no weights flag": (("--aligned", image), "required: --weights"),
        "unknown flag": ((*weights_flag, "--aligned", "--scvs", "x", image), "unrecognized arguments"),
        "webcam and files": ((*weights_flag, "--webcam", "0", image), "no other input"),
        "bad webcam": ((*weights_flag, "--webcam", "front"), "--webcam must be a camera's number, from 0"),
        "no camera to show": ((*weights_flag, "--show", "--aligned", image), "--show shows a camera; --webcam"),
        "bad port": ((*weights_flag, "--webcam", "0", "--show", "99999"), "must be a port, from 0"),
        "a file that is no camera": ((*weights_flag, "--webcam", blocker), f"--webcam {blocker}: cannot be read"),
        "a graph that is none": ((*weights_flag, "--webcam", "lavfi:nonsense"), "lavfi:nonsense cannot be read"),
        "bad window": ((*weights_flag, "--smooth_window", "0", image), "above 0"),
        "bad detector": ((*weights_flag, "--detector", "haar", image), "invalid choice"),
        "bad confidence": ((*weights_flag, "--min_confidence", "1.5", image), "must be a probability, from 0 to 1"),
        "bad dialect": ((*weights_flag, "--dialect", "spss", image), "invalid choice"),
        "peaks elsewhere": ((*weights_flag, "--dialect", "openface", "--peaks", image), "does not have"),
        "place without heatmaps": ((*weights_flag, "--heatmaps_on", "image", image), "--heatmaps FILE is missing"),
        "largest of aligned": ((*weights_flag, "--aligned", "--largest", image), "skips face detection"),
        "no predictor": ((*weights_flag, "--predictor", folder / "none.dat", image), "no predictor file"),
        "no thresholds": ((*weights_flag, "--thresholds", folder / "none.json", image), "cannot read thresholds"),
        "bad thresholds": ((*weights_flag, "--thresholds", blocker, image), "expected JSON"),
        "video of images": ((*weights_flag, "--video", folder / "v.mp4", image), "one video or webcam"),
        "video that is none": ((*weights_flag, "--webcam", "0", "--video", folder / "v.avi"), "must end with .mp4"),
        "no such camera": ((*weights_flag, "--webcam", "97"), "camera 97 cannot be opened"),
        "missing inputs": (
            (*weights_flag, folder / "x.png", folder / "y.png"),
            "(and 1 more inputs that cannot be read)",
        ),
        "a list of missing files": ((*weights_flag, name_list(folder)), "nothing to read: gone.png"),
        "a table exists": (
            (*weights_flag, "--aligned", "--csv", other_table(folder), image),
            "other.csv exists; give another name, --overwrite to replace it, or --resume",
        ),
        "an archive exists": (
            (*weights_flag, "--aligned", "--csv", folder / "r.csv", "--heatmaps", blocker, image),
            "file exists; give another name, --overwrite to replace it",
        ),
        "an overlay exists": (
            (*weights_flag, "--aligned", "--overlays", drawn(folder), image),
            "a.png exists; give another name, --overwrite to replace it",
        ),
        "an aligned face exists": (
            (*weights_flag, "--aligned", "--aligned_faces", drawn(folder, "a-0.png"), image),
            "a-0.png exists; give another name, --overwrite to replace it",
        ),
        "a resumed run's archive exists": (
            (*weights_flag, "--aligned", "--resume", "--csv", folder / "new.csv", "--heatmaps", archive(folder), image),
            "old.zarr exists; give another name, --overwrite to replace it",
        ),
        "resume nothing": ((*weights_flag, "--resume", image), "standard output"),
        "resume npz": (
            (*weights_flag, "--resume", "--csv", folder / "r.csv", "--heatmaps", folder / "r.npz", image),
            "npz archive",
        ),
        "resume a table without its JSON": (
            (*weights_flag, "--aligned", "--resume", "--csv", other_table(folder), image),
            "is not beside it",
        ),
        "a folder that is no archive": (
            (*weights_flag, "--aligned", "--heatmaps", photographs(folder), image),
            "no Zarr archive",
        ),
        "absent weights": (("--weights", folder / "none", "--aligned", image), "no such weights directory"),
        "no weights": (("--weights", folder, "--aligned", image), "not a weights directory"),
        "bad batch size": ((*weights_flag, "--aligned", "--batch_size", "0", image), "at least 1"),
        "csv under a file": ((*weights_flag, "--aligned", "--csv", blocker / "r.csv", image), "not a folder"),
        "csv is a folder": ((*weights_flag, "--aligned", "--csv", folder, image), "is a folder"),
        "overlays is a file": ((*weights_flag, "--aligned", "--overlays", blocker, image), "not a folder"),
        "overwrites input": ((*weights_flag, "--aligned", "--overlays", folder, image), "both an image"),
        "one file twice": (
            (*weights_flag, "--aligned", "--csv", folder / "r", "--heatmaps", folder / "r", image),
            "same file",
        ),
    }


def other_table(folder):
    """Write another program's table, and return its path."""
    (folder / "other.csv").write_text("a,b\n1,2\n")
    return folder / "other.csv"


def name_list(folder):
    """Write a list of files that are gone, and return its word for the command."""
    (folder / "list.txt").write_text("gone.png\nlost.mp4\n")
    return f"@{folder / 'list.txt'}"


def drawn(folder, name="a.png"):
    """Write a file into a folder of drawings, and return the folder."""
    face(folder / "drawn" / name)
    return folder / "drawn"


def archive(folder):
    """Write what is left of an archive of heatmaps, and return its path."""
    (folder / "old.zarr").mkdir()
    (folder / "old.zarr" / "zarr.json").write_text("{}")
    return folder / "old.zarr"


def photographs(folder):
    """Write a folder of images whose name has an archive's suffix, and return its path."""
    face(folder / "holiday.zarr" / "a.png")
    return folder / "holiday.zarr"


USAGE_CASES = (
    "no images",
    "no weights flag",
    "unknown flag",
    "webcam and files",
    "bad webcam",
    "no camera to show",
    "bad port",
    "a file that is no camera",
    "a graph that is none",
    "bad window",
    "bad dialect",
    "peaks elsewhere",
    "place without heatmaps",
    "largest of aligned",
    "no predictor",
    "no thresholds",
    "bad thresholds",
    "video of images",
    "video that is none",
    "no such camera",
    "missing inputs",
    "a list of missing files",
    "a table exists",
    "an archive exists",
    "an overlay exists",
    "an aligned face exists",
    "a resumed run's archive exists",
    "resume nothing",
    "resume npz",
    "resume a table without its JSON",
    "a folder that is no archive",
    "absent weights",
    "no weights",
    "bad batch size",
    "csv under a file",
    "csv is a folder",
    "overlays is a file",
    "overwrites input",
    "one file twice",
)


@pytest.mark.parametrize("case", [case for case in USAGE_CASES if case not in ("absent weights", "no weights")])
def test_usage_errors_load_no_weights(directory, tmp_path, monkeypatch, case):
    """Nor compile anything: they are found at once."""

    def load(*_, **__):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(weights, "load_weights", load)
    try:
        status = predict.main([str(word) for word in usage_cases(tmp_path, directory)[case][0]])
    except SystemExit as exit:
        status = exit.code
    assert status == 2


@pytest.mark.parametrize(("library", "extra"), [("dlib", "faces"), ("av", "video")])
def test_missing_libraries_are_found_at_once(directory, tmp_path, capsys, monkeypatch, library, extra):
    """With what to install."""
    (tmp_path / "v.mp4").write_bytes(b"a video")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: find_spec(name) if name != library else None)
    monkeypatch.setitem(sys.modules, library, None)
    assert predict.main(["--weights", str(directory), str(tmp_path / "v.mp4")]) == 2
    assert f"not installed: pip install 'fgnet_jax[{extra}]'" in capsys.readouterr().err


@pytest.mark.parametrize("case", USAGE_CASES)
def test_usage_errors_are_status_2_before_anything_is_touched(directory, tmp_path, capfd, case):
    """Name the mistake, and leave the folder as it was."""
    arguments, message = usage_cases(tmp_path, directory)[case]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    try:
        status = predict.main([str(word) for word in arguments])
    except SystemExit as exit:
        status = exit.code
    assert status == 2 and message in capfd.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
