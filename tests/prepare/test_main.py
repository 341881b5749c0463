"""The command line: mistakes stop before any work, and interrupting reports how to resume."""

import importlib.util
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fgnet_jax.prepare import __main__ as prepare
from tests.prepare.corpora import arguments, dataset_bytes

ROOT = Path(__file__).parents[2]


def test_mistakes_stop_before_any_work(owners, tmp_path, capsys):
    """Wrong folders, other landmarks, a missing predictor: status 2 and what was not found."""
    data = tmp_path / "data"
    mini = owners["disfa"]
    cases = [
        (["disfa", "--source", str(owners["bp4d"].root)], "SN001_au1.txt; there is: AUCoding, Sequences(2D+3D)"),
        (["bp4d", "--source", str(mini.root)], "AUCoding/AU_OCC/F001_T1.csv; there is: ActionUnit_Labels"),
        (["fgnet", "--source", str(mini.root)], "is a folder BP4D or DISFA with aligned_images and labels in it"),
        (["disfa", "--source", str(mini.root), "--landmarks", str(tmp_path)], "no landmarks of disfa are in"),
        (["disfa", "--source", str(mini.root), "--predictor", "no.dat"], "no predictor file no.dat"),
        (["csv", "--name", "Mine!", "--source", str(tmp_path)], "must hold one table, *.csv"),
    ]
    for words, message in cases:
        assert prepare.main([*words, "--data_dir", str(data)]) == 2
        assert message in capsys.readouterr().err
    assert not data.exists()
    for words in (["disfa", "--aus", "1,99"], ["bp4d", "--unknown", "maybe"], ["disfa", "--workers", "0"], ["x"], []):
        with pytest.raises(SystemExit) as ended:
            prepare.main([*words, "--source", "x", "--data_dir", "y"] if words else [])
        assert ended.value.code == 2


@pytest.mark.parametrize(("library", "extra"), [("cv2", "faces"), ("av", "video")])
def test_a_missing_library_stops_before_any_work(owners, tmp_path, capsys, monkeypatch, library, extra):
    """With what to install; images need no PyAV."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == library else real(name, *a))
    assert prepare.main(["disfa", *arguments(owners["disfa"], tmp_path / "data")]) == 2
    assert f"pip install 'fgnet_jax[{extra}]'" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_how_to_resume(owners, tmp_path, prepared, number):
    """Status 130 and one line, without a traceback of it or its workers; resumed, it writes the same bytes."""
    words = [sys.executable, "-m", "fgnet_jax.prepare", "bp4d", *arguments(owners["bp4d"], tmp_path, "--workers", "2")]
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while not list((tmp_path / "bp4d").glob(".work-*/*/*/*.npz")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == (
        "fgnet_jax.prepare: interrupted; finished work is kept, and the same command resumes"
    )
    assert "Traceback" not in errors
    assert prepare.main(words[3:]) == 0
    assert dataset_bytes(tmp_path, "bp4d") == dataset_bytes(prepared, "bp4d")
