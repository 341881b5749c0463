"""The Dockerfile: its one step is a script that `.ci/run` runs, too; here, what the script installs and refuses."""

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "docker/install.sh"


def test_its_steps_are_the_scripts():
    """What is not in the script, CI does not run; and CI reads them from the Dockerfile."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("RUN ")] == ['RUN DEVICE="$DEVICE" bash docker/install.sh']
    assert "sed -n 's/^RUN //p' Dockerfile" in (ROOT / ".ci/run").read_text()


def test_its_python_is_one_that_is_supported():
    """`requires-python` of the project."""
    (version,) = re.findall(r"^FROM python:3\.(\d+)-", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    lowest, above = re.findall(r"3\.(\d+)", supported)
    assert int(lowest) <= int(version) < int(above)


def test_its_extras_exist():
    """For CPUs, and for GPUs with JAX's wheels of CUDA."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = dict(re.findall(r"^(cpu|cuda)\) extras=(\S+) ;;$", SCRIPT.read_text(), re.MULTILINE))
    assert set(named["cpu"].split(",")) < set(extras)
    assert named["cuda"] == f"{named['cpu']},cuda"


def test_another_device_is_refused():
    """Before anything is installed."""
    done = subprocess.run(
        ["bash", SCRIPT], env={"DEVICE": "tpu", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr == "DEVICE must be cpu or cuda, got tpu\n"
