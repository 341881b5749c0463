"""Every command of docs/predict.md and of the README's first steps, as printed, in order, in one folder.

Left out are those that need what is not here: installation, a download, a camera, and the library that writes ONNX.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.end_to_end.command import ROOT
from tests.end_to_end.predicting import Predict, astronaut, moving, predict  # noqa: F401
from tests.miniature import write_video

pytestmark = pytest.mark.slow

LEFT_OUT = ("pip install", "fgnet-jax convert fetch", "--webcam", "--format onnx")
"""Parts of commands that cannot run here; each has tests of its own."""


def _commands(text: str) -> list[str]:
    """Return the command lines of a document's blocks, and those with flags in its prose, in order."""
    found = re.findall(r"```bash\n(.*?)```|`(fgnet-jax \w[^`\n]* --[^`\n]*)`", text, re.DOTALL)
    lines = [line for block, inline in found for line in (block or inline).splitlines()]
    return [line for line in lines if line and not line.startswith("#") and "…" not in line]


def _first_steps() -> str:
    """Return the README's section on prediction."""
    return re.split(r"^## ", (ROOT / "README.md").read_text(), flags=re.MULTILINE)[1]


DOCUMENTED = [*_commands(_first_steps()), *_commands((ROOT / "docs/predict.md").read_text())]
COMMANDS = [line for line in DOCUMENTED if not any(part in line for part in LEFT_OUT) and "--help" not in line]


@pytest.fixture(scope="module")
def folder(predict: Predict, tmp_path_factory) -> Path:  # noqa: F811
    """Return a folder with the files that the documents name, and weights where they have them."""
    path = tmp_path_factory.mktemp("documented")
    shutil.copytree(predict.weights, path / "weights/fgnet_disfa")
    photograph = Image.fromarray(astronaut())
    for name in ("photo.png", "photo.jpg", "folder/1.png"):
        (path / name).parent.mkdir(exist_ok=True)
        photograph.save(path / name)
    for name in ("a.png", "b.jpg"):  # aligned faces
        photograph.crop((150, 20, 300, 170)).save(path / name)
    write_video(path / "clip.mp4", moving(12), "libx264", 25)
    write_video(path / "clip.avi", moving(12), "mpeg4", 25)
    return path


@pytest.fixture(scope="module")
def environment(predict: Predict) -> dict[str, str]:  # noqa: F811
    """Return the environment of the commands: those of this Python first."""
    compiling = {"JAX_COMPILATION_CACHE_DIR": str(predict.cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | compiling | {"PATH": path, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}


def test_commands_run_in_order_in_one_folder(folder, environment):
    """None refuses what another one wrote, and each ends with status 0."""
    assert len(COMMANDS) >= 6
    for line in COMMANDS:
        if line.startswith("fgnet-jax app"):
            _serve(f"{line} --no-browser --port 0", folder, environment)
            continue
        done = subprocess.run(line, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def _serve(line: str, folder: Path, environment: dict[str, str]) -> None:
    """Start the page, wait for its address, and end it by Ctrl-C."""
    pipes: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(f"exec {line}", shell=True, cwd=folder, env=environment, **pipes) as process:
        assert process.stdout is not None
        printed, limit = "", time.monotonic() + 120
        while "http://" not in printed and time.monotonic() < limit and process.poll() is None:
            printed += process.stdout.readline()
        process.send_signal(signal.SIGINT)
        printed += process.stdout.read()
        assert process.wait() == 0 and "http://" in printed, printed
