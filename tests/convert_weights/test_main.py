"""The command: its three forms, its output, and its errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from convert_weights.__main__ import main
from fgnet_jax.models import weights
from fgnet_jax.models.config import TINY
from fgnet_jax.runtime.files import sha256
from tests.convert_weights import writers

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> int:
    """Run the command and return its exit status."""
    return main([str(argument) for argument in arguments])


def test_first_form(files, tmp_path, capsys):
    """Generator and encoder to a starting point for training."""
    out = tmp_path / "out"
    given = ("--generator", files.generator, "--encoder", files.encoder, "--config", "tiny")
    assert run(*given, "--output", out, "--seed", 7) == 0
    printed = capsys.readouterr().out
    assert f"generator.pt: sha256 {sha256(files.generator)}" in printed
    assert "interpreter: 32 tensors freshly initialised (seed 7)" in printed
    assert printed.endswith(f"wrote {out}\n")
    assert weights.load(out)[0] == TINY


def test_second_and_third_form(files, tmp_path, capsys):
    """FG-Net's file to a weights directory, and back."""
    out, model = tmp_path / "out", tmp_path / "model.pth"
    given = ("--fgnet", files.model, "--encoder", files.encoder, "--corpus", "disfa", "--config", "tiny")
    assert run(*given, "--output", out) == 0
    assert "model.pth: g_all: 79 tensors used" in capsys.readouterr().out
    pytest.importorskip("torch")
    assert run("--weights", out, "--to-pytorch", model) == 0
    assert "model.pth: pspencoder: 172 tensors written" in capsys.readouterr().out


def test_sizes_from_a_file(files, tmp_path, capsys):
    """--config takes the sizes of any network as JSON, such as a weights directory's own."""
    sizes = tmp_path / "model.json"
    given = ("--fgnet", files.model, "--encoder", files.encoder, "--corpus", "disfa", "--output", tmp_path / "out")
    for values in (TINY.to_dict(), {"model": TINY.to_dict(), "version": "1"}):
        sizes.write_text(json.dumps(values))
        assert run(*given, "--config", sizes, "--overwrite") == 0
    sizes.write_text(json.dumps(TINY.to_dict()), encoding="utf-8-sig")  # with a byte-order mark, as editors leave one
    assert run(*given, "--config", sizes, "--overwrite") == 0
    wrong = ("no JSON", json.dumps({"surprise": 1}), json.dumps([1]), json.dumps({"image_size": 3}), "[" * 100_000)
    for text in wrong:
        sizes.write_text(text)
        assert run(*given, "--config", sizes, "--overwrite") == 1
        assert "neither published, tiny, nor a JSON file of sizes" in capsys.readouterr().err
    assert run(*given, "--config", tmp_path / "nothing", "--overwrite") == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "missing"),
        (["--generator", "g", "--output", "o"], "missing: --encoder"),
        (["--fgnet", "m", "--corpus", "disfa", "--output", "o"], "missing: --encoder"),
        (["--fgnet", "m", "--encoder", "e", "--output", "o"], "missing: --corpus"),
        (["--weights", "w"], "missing: --to-pytorch"),
        (["--generator", "g", "--encoder", "e", "--output", "o", "--fgnet", "m"], "--generator"),
        (["--generator", "g", "--encoder", "e", "--output", "o", "--corpus", "bp4d"], "--corpus"),
        (["--fgnet", "m", "--encoder", "e", "--output", "o", "--corpus", "ck"], "invalid choice: 'ck'"),
    ],
)
def test_usage_errors(arguments, message, capsys):
    """Options that belong to no form end with status 2 and a message that tells what is missing or surplus."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_refusals_write_nothing(files, tmp_path, capsys):
    """A refused file ends with status 1, a reason, and no output."""
    out = tmp_path / "out"
    (tmp_path / "evil.pkl").write_bytes(writers.dump(writers.EVIL))
    tiny = ("--encoder", files.encoder, "--output", out, "--config", "tiny")
    for generator, message in (
        (tmp_path / "evil.pkl", "the pickle refers to os.system"),
        (files.model, "it lacks g_ema"),
        (tmp_path / "nothing.pt", "No such file"),
    ):
        assert run("--generator", generator, *tiny) == 1
        assert message in capsys.readouterr().err
    published = ("--generator", files.generator, "--encoder", files.encoder, "--output", out)
    assert run(*published) == 1
    assert "convs.0.conv.weight: has shape (1, 32, 32, 3, 3), expected (1, 512, 512, 3, 3)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pkl"]


def test_existing_output_is_refused_first(files, tmp_path, capsys):
    """An output that exists is refused before anything is read."""
    (tmp_path / "out").mkdir()
    assert run("--generator", "nothing", "--encoder", "nothing", "--output", tmp_path / "out") == 1
    assert "exists" in capsys.readouterr().err


def test_too_many_aus(files, tmp_path, capsys):
    """A corpus of more AUs than the network has heatmaps is refused."""
    sizes = tmp_path / "sizes.json"
    sizes.write_text(json.dumps(TINY.to_dict() | {"num_heatmaps": 8}))
    given = ("--fgnet", files.model, "--encoder", files.encoder, "--corpus", "bp4d", "--output", tmp_path / "out")
    assert run(*given, "--config", sizes) == 1
    assert "bp4d has 12 AUs, but the network only 8 heatmaps" in capsys.readouterr().err


HELP = """
import runpy, sys
sys.argv = ["x", "--help"]
try:
    runpy.run_module("convert_weights", run_name="__main__")
except SystemExit as end:
    print(end.code, sorted({"jax", "torch", "tensorflow"} & set(sys.modules)))
"""

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from convert_weights.__main__ import main
print(main(sys.argv[1:]), "tensorflow" in sys.modules)
"""


def test_help_is_light():
    """--help works as a module, names every option, and imports neither JAX nor PyTorch."""
    done = subprocess.run([sys.executable, "-c", HELP], cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.stdout.endswith("0 []\n"), done.stdout + done.stderr
    for option in (
        "--generator",
        "--encoder",
        "--fgnet",
        "--corpus",
        "--weights",
        "--to-pytorch",
        "--overwrite",
        "--seed",
    ):
        assert option in done.stdout


def test_reading_needs_no_pytorch(files, tmp_path):
    """A conversion in a separate process imports neither PyTorch nor TensorFlow."""
    arguments = [
        "--generator",
        files.generator,
        "--encoder",
        files.encoder,
        "--config",
        "tiny",
        "--output",
        tmp_path / "o",
    ]
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.stdout.endswith("0 False\n"), done.stdout + done.stderr
