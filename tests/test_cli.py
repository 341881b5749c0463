"""The commands in processes of their own: help, version, spelling; and the wheel, installed where no checkout is."""

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from convert_weights import __main__ as convert
from convert_weights import fetch
from fgnet_jax import benchmark, cli
from fgnet_jax.app import __main__ as app
from fgnet_jax.evaluate import __main__ as evaluate
from fgnet_jax.evaluate import inspection
from fgnet_jax.export import __main__ as export
from fgnet_jax.models import weights
from fgnet_jax.predict import __main__ as predict
from fgnet_jax.prepare import __main__ as prepare
from fgnet_jax.runtime.version import __version__

ROOT = Path(__file__).parents[1]
HEAVY = {"jax", "flax", "orbax", "tensorflow_datasets", "grain", "torch", "optax", "cv2", "dlib", "gradio"}
AS_SCRIPT = "import sys; sys.argv[0] = '/bin/fgnet-jax'; from fgnet_jax import cli; sys.exit(cli.main())"
MODULES = [name for name in cli.COMMANDS if name not in ("convert", "inspect")]
PROGRAMS = {
    "python -m convert_weights": ["-m", "convert_weights"],
    "python -m convert_weights fetch": ["-m", "convert_weights", "fetch"],
    "fgnet-jax": ["-c", AS_SCRIPT],
    "fgnet-jax convert fetch": ["-c", AS_SCRIPT, "convert", "fetch"],
    "python -m fgnet_jax.evaluate protocol within": ["-m", "fgnet_jax.evaluate", "protocol", "within"],
    "python -m fgnet_jax.prepare disfa": ["-m", "fgnet_jax.prepare", "disfa"],
    **{f"fgnet-jax {name}": ["-c", AS_SCRIPT, name] for name in cli.COMMANDS},
    **{f"python -m fgnet_jax.{name}": ["-m", f"fgnet_jax.{name}"] for name in MODULES},
    "python -m fgnet_jax.evaluate.inspection": ["-m", "fgnet_jax.evaluate.inspection"],
}
"""How every command is started, by the name that its help calls it."""


def run(words, **options):
    """The finished process of Python with these arguments, its output as text."""
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, **options)


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_comes_at_once(name):
    """Status 0, under two seconds of computing, and without JAX or anything else that takes long to import."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(["-X", "importtime", *PROGRAMS[name], "--help"])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {name} "), done.stdout
    assert "--help" in done.stdout and len(done.stdout.splitlines()) > 10
    imported = set(re.findall(r"^import time:[^|]*\|[^|]*\|\s*(\w+)", done.stderr, re.MULTILINE))
    assert "argparse" in imported and not imported & HEAVY
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name.split()[-1] not in ("within", "disfa")])
def test_every_command_tells_the_version(name):
    """On standard output, with status 0."""
    done = run([*PROGRAMS[name], "--version"])
    assert (done.returncode, done.stdout) == (0, f"fgnet_jax {__version__}\n"), done.stderr


def test_the_help_lists_the_commands(capsys):
    """Each with a line about it."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    for name, command in cli.COMMANDS.items():
        assert any(line.split() == [name, *command.summary.split()] for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "there is no command 'trian'; did you mean train?"),
        (["pedict", "--help"], "there is no command 'pedict'; did you mean predict?"),
        ([], "a command is expected"),
        (["--jobs"], "unrecognized arguments: --jobs"),
    ],
)
def test_what_is_no_command_is_refused(words, message, capsys):
    """With the nearest one, as the last line; status 2."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"fgnet-jax: error: {message}"


@pytest.mark.parametrize(
    ("parser", "words"),
    [
        (predict.parser(), ["--weights", "w", "--batch_size", "2", "--smooth_window=0.5", "a_b.jpg", "c-d.jpg"]),
        (evaluate.parser(), ["--data_dir", "a-b", "--fit_thresholds", "--trained_fold=1"]),
        (evaluate.parser(), ["protocol", "within", "--corpus=my_corpus", "--runs", "a_b*", "--batch_size=2"]),
        (prepare._parser(), ["csv", "--source", "a_b", "--data_dir", "c_d", "--name=my_corpus"]),
        (app._parser(), ["--weights", "my_weights", "--no-browser"]),
        (convert._parser(), ["--weights", "my_weights", "--to_pytorch", "my_model.pth"]),
        (fetch._parser(), ["disfa", "--output", "my_weights", "--accept_licences"]),
    ],
)
def test_flags_are_spelled_either_way(parser, words):
    """With `_` as with `-`; values keep theirs."""
    other = [re.sub("^--[^=]+", lambda name: "--" + name[0][2:].replace("_", "-"), word) for word in words]
    assert vars(parser.parse_args(words)) == vars(parser.parse_args(other))


DEVICES = {
    "fgnet_jax.train": ["--config", "tiny", "--workdir", "run"],
    "fgnet_jax.distill": ["--teacher", "none", "--faces", __file__, "--output", "run"],
    "fgnet_jax.evaluate": ["--weights", "none", "--corpus", "none"],
    "fgnet_jax.predict": ["--weights", "none", "--aligned", __file__],
    "fgnet_jax.export": ["--weights", "none", "--output", "none.stablehlo"],
    "fgnet_jax.benchmark": ["none"],
    "fgnet_jax.app": ["--weights", "none", "--no-browser"],
    "fgnet_jax.evaluate.inspection": ["none"],
    "convert_weights": ["--weights", "none", "--to-pytorch", "none.pth"],
}


@pytest.mark.parametrize(("name", "platforms"), [*((name, "cuda") for name in DEVICES), ("fgnet_jax.train", "gpus")])
def test_devices_that_are_not_there_are_one_line(name, platforms, tmp_path):
    """By every command, for a platform without support and for one that does not exist."""
    if platforms == "cuda" and shutil.which("nvidia-smi"):
        pytest.skip("this machine may have a card")
    environment = os.environ | {"JAX_PLATFORMS": platforms, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", name, *DEVICES[name]], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith(f"{name}: error: JAX_PLATFORMS={platforms}: ")
    assert "This machine has: " in line and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("parser", "words", "name"),
    [
        (predict.parser(), ["--weights=~/x"], "weights"),
        (predict.parser(), ["--weights", "w", "--video", "~/x"], "video"),
        (evaluate.parser(), ["--data-dir=~/x"], "data_dir"),
        (evaluate.parser(), ["protocol", "within", "--corpus=disfa", "--runs", "~/x"], "runs"),
        (prepare._parser(), ["disfa", "--source=~/x", "--data_dir", "d"], "source"),
        (prepare._parser(), ["csv", "--source=s", "--data_dir", "d", "--name=n", "--partition=~/x"], "partition"),
        (app._parser(), ["--weights=~/x"], "weights"),
        (benchmark.parser(), ["~/x"], "weights"),
        (export._parser(), ["--weights=w", "--output=~/x"], "output"),
        (inspection.parser(), ["~/x"], "path"),
        (convert._parser(), ["--fgnet=~/x"], "fgnet"),
        (fetch._parser(), ["disfa", "--output=~/x"], "output"),
    ],
)
def test_home_folders_are_expanded(parser, words, name, monkeypatch):
    """By every command, also where the shell does not do it: after an equals sign."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert str(getattr(parser.parse_args(words), name)) == "/home/ada/x"


def test_training_without_a_configuration_is_a_usage_error():
    """The last line says what is missing; status 2."""
    done = run(["-m", "fgnet_jax.train", "--workdir", "nowhere"])
    assert done.returncode == 2 and done.stderr.startswith("usage: python -m fgnet_jax.train --config NAME|FILE")
    last = "fgnet_jax.train: error: --config is required, such as --config demo; see --help"
    assert done.stderr.splitlines()[-1] == last


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that the wheel alone is installed into."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("fgnet_jax", "convert_weights", "configs", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    built = run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source])
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    done = run([*pip, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel])
    assert done.returncode == 0, done.stderr
    return folder / "site"


def start(installed, folder, *words):
    """The finished process of the installed `fgnet-jax`, started in an empty folder."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, installed / "bin/fgnet-jax", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_the_wheel_has_two_packages(installed):
    """No `configs`, `tests` or `benchmarks`; type checkers find the package's types; the version is the code's."""
    assert {path.name for path in installed.iterdir()} == {
        *("bin", "convert_weights", "fgnet_jax", f"fgnet_jax-{__version__}.dist-info"),
    }
    assert (installed / "fgnet_jax/py.typed").exists()
    of_checkout = {
        path.relative_to(ROOT) for name in ("fgnet_jax", "convert_weights") for path in _sources(ROOT / name)
    }
    of_wheel = {path.relative_to(installed) for path in _sources(installed)}
    configs = {Path("fgnet_jax/train/configs") / path.name for path in _sources(ROOT / "configs")}
    assert of_wheel == of_checkout | configs


def test_the_wheel_brings_the_face_detector(installed):
    """The network's file, whole, and its licence beside it."""
    for name in ("face_detection_yunet_2023mar.onnx", "face_detection_yunet_2023mar.txt"):
        file = installed / "fgnet_jax/faces" / name
        assert file.read_bytes() == (ROOT / "fgnet_jax/faces" / name).read_bytes()


def test_the_wheel_brings_the_descriptions_of_gpus(installed):
    """Which `--compile_for h100` and `a100` compile for."""
    for name in ("h100.txtpb", "a100.txtpb"):
        file = installed / "fgnet_jax/runtime/gpus" / name
        assert file.read_bytes() == (ROOT / "fgnet_jax/runtime/gpus" / name).read_bytes()


def _sources(folder):
    return [path for path in folder.rglob("*.py") if "dist-info" not in path.parts]


def test_the_wheel_brings_its_configurations(installed, tmp_path):
    """By name, outside of any checkout."""
    done = start(installed, tmp_path, "train", "--config", "demo", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: fgnet-jax train ") and "--config.train.epochs=9 " in done.stdout
    assert f"All keys, with what they mean: {installed}/fgnet_jax/train/defaults.py" in done.stdout
    done = start(installed, tmp_path, "train", "--config", "configs/demo.py")
    assert (
        done.stderr
        == "fgnet_jax.train: error: --config configs/demo.py: there is no such file; did you mean --config demo?\n"
    )
    assert done.returncode == 2 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_wheel_trains_in_an_empty_folder(installed, tmp_path):
    """A whole run, with flags in the other spelling."""
    words = ["--config", "tiny:steps=2", "--workdir", "run", "--config.train.eval-batch-size=4"]
    words += ["--config.model.image-size=16", "--config.model.heatmap_size=8", "--config.model.mapping-layers=1"]
    words += ["--config.data.frames=60", "--config.train.epochs=1"]
    done = start(installed, tmp_path, "train", *words)
    assert done.returncode == 0, done.stderr
    assert weights.load(tmp_path / "run/best")[2].corpus == "synthetic_bp4d"
    assert (tmp_path / "run/results.json").exists()
    assert '"eval_batch_size": 4' in (tmp_path / "run/config.json").read_text()
