"""`fgnet-jax export`: what it refuses, in one line and before anything is written."""

import pytest

from fgnet_jax.export import __main__ as export


def test_refusals_write_nothing(directory, tmp_path, capsys):
    """Refuse missing weights, files that exist already, and a suffix that the other files need."""
    (tmp_path / "taken.npz").touch()
    for name, where, reason, *options in (
        ("model.stablehlo", tmp_path / "absent", "no such weights directory"),
        ("taken.stablehlo", directory, "taken.npz exists"),
        ("model.npz", directory, "name it .stablehlo"),
        ("model.stablehlo", directory, "--aligned is of the inputs of --int8", "--aligned"),
        ("model.onnx", directory, "give its size by --batch N", "--format", "onnx", "--batch", "symbolic"),
        ("model.onnx", directory, "give its size by --batch N", "--batch", "symbolic"),  # the name says what it is
        ("model.onnx", directory, "has the name of onnx, --format is stablehlo", "--format", "stablehlo"),
        ("model.stablehlo", directory, "has the name of stablehlo, --format is onnx", "--format", "onnx"),
    ):
        assert export.main(["--weights", str(where), "--output", str(tmp_path / name), *options]) == 2
        assert reason in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken.npz"]


@pytest.mark.parametrize(("name", "extra"), [("flatbuffers", "export"), ("jax2onnx", "onnx")])
def test_missing_libraries_are_named(directory, tmp_path, capsys, monkeypatch, name, extra):
    """Name the extra that installs them."""
    monkeypatch.setattr(export, "find_spec", lambda library: None if library == name else object())
    form = "onnx" if extra == "onnx" else "stablehlo"
    given = ["--weights", str(directory), "--output", str(tmp_path / f"model.{form}"), "--format", form]
    assert export.main(given) == 2
    assert f"{name}: pip install 'fgnet_jax[{extra}]'" in capsys.readouterr().err


@pytest.mark.parametrize("batch", ["0", "-1", "many"])
def test_a_batch_is_a_number_or_symbolic(batch, capsys):
    """Report others as usage errors."""
    with pytest.raises(SystemExit) as exit_:
        export.main(["--weights", "w", "--output", "o.stablehlo", "--batch", batch])
    assert exit_.value.code == 2 and "symbolic or a whole number" in capsys.readouterr().err
