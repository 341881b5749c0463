"""The README's commands, files and links exist: what a reader copies must run."""

import functools
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BASH = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
INLINE = re.findall(r"`(pip install [^`]+)`", TEXT)


def _commands() -> list[list[str]]:
    """Every command of the README, split into words; those inside a remote `--command` too."""
    lines = [line for block in (*BASH, *INLINE) for line in block.splitlines() if not line.startswith("#")]
    words = [word for line in lines for word in shlex.split(line)]
    remote = [word.removeprefix("--command=") for word in words if word.startswith("--command=")]
    local = [line for line in lines if "--command=" not in line]
    return [shlex.split(piece) for line in (*local, *remote) for piece in line.split(" && ")]


COMMANDS = _commands()
MODULES = [command[2:] for command in COMMANDS if command[:2] == ["python", "-m"]]


def _spell(command: list[str]) -> str:
    return " ".join(command)[:80]


@functools.cache
def _help(module: str) -> str:
    """What a main says of its flags."""
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def _config(argument: str):
    """The configuration that `--config FILE:arguments` names."""
    file, colon, arguments = argument.partition(":")
    assert (ROOT / file).is_file(), file
    get_config = importlib.import_module(file.removesuffix(".py").replace("/", ".")).get_config
    return get_config(arguments) if colon else get_config()


def _check_override(config, key: str, value: str) -> None:
    """A `--config.KEY=VALUE` must name a key of the configuration, and be of its type."""
    for name in key.split("."):
        assert name in config, key
        config = config[name]
    type(config)(value)


def test_commands_are_found():
    """The tests below would pass on an empty list."""
    assert len(COMMANDS) > 15
    assert {words[0] for words in MODULES} >= {"fgnet_jax.train", "fgnet_jax.predict", "convert_weights", "pytest"}


@pytest.mark.parametrize("words", MODULES, ids=_spell)
def test_modules_and_flags_exist(words):
    """`python -m MODULE --flag`: the module runs and its help knows the flag."""
    module, *arguments = words
    for argument in arguments:
        flag = argument.split("=")[0]
        if flag.startswith("--") and not flag.startswith("--config."):
            known = re.findall(rf"--(?:\[no\])?{re.escape(flag[2:])}\b", _help(module))
            assert known, f"{module} has no {flag}"


@pytest.mark.parametrize("words", [words for words in MODULES if "--config" in words], ids=_spell)
def test_configurations_and_their_keys_exist(words):
    """`--config FILE:arguments` loads, and every `--config.KEY` is a key of it."""
    config = _config(words[words.index("--config") + 1])
    for word in words:
        if word.startswith("--config."):
            _check_override(config, *word.removeprefix("--config.").split("=", 1))


def test_extras_exist():
    """`pip install -e '.[extra]'`."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = set(re.findall(r"\.\[(\w+)\]", TEXT))
    assert named and named <= set(extras)


def test_links_and_images_exist():
    """Relative links lead to files of the checkout."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("https://")]
    assert len(links) > 5
    assert not [link for link in links if not (ROOT / link).exists()]


def test_images_are_small():
    """A clone is not for images: half a megabyte in all."""
    assert sum(path.stat().st_size for path in (ROOT / ".readme").iterdir()) < 2**19


def test_python_examples_name_what_exists():
    """Attributes of the package and of predictions in the Python example."""
    import fgnet_jax

    (code,) = PYTHON
    compile(code, "README.md", "exec")
    for name in re.findall(r"predictions\.(\w+)", code):
        assert name in fgnet_jax.Predictions.__dataclass_fields__ or hasattr(fgnet_jax.Predictions, name), name
    assert hasattr(fgnet_jax.Detector, "load") and hasattr(fgnet_jax.Detector, "predict")


def test_ci_runs_the_readmes_tests():
    """The commands under "Working on it" are what `.ci/run` does, in that order."""
    script = (ROOT / ".ci/run").read_text()
    (block,) = [block for block in BASH if "pre-commit" in block]
    places = [script.index(shlex.split(word)[-1] if "pip" in word else word) for word in _steps(block)]
    assert places == sorted(places)


def _steps(block: str) -> list[str]:
    return [piece for line in block.splitlines() for piece in line.split(" && ")]
