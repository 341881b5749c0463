"""Commands, files, links, anchors and examples in the README and in docs/: what a reader copies must run."""

import ast
import functools
import importlib
import importlib.util
import itertools
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fgnet_jax import __version__, cli
from fgnet_jax.train.command_line import without_several
from tests.test_architecture import ROOMS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = (README, *sorted((ROOT / "docs").glob("*.md")))
LINKING = (*DOCUMENTS, ROOT / "CHANGELOG.md")

SCRIPT = "fgnet-jax"
"""The command whose subcommands are the modules' commands."""


def _blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def _lines(text: str) -> list[str]:
    """Return the command lines of bash blocks, and of code in the prose that begins like a command."""
    inline = re.findall(
        r"`((?:pip install|fgnet-jax \w|python -m \w)[^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    )
    blocks = [line for block in _blocks("bash", text) for line in block.splitlines()]
    return [line for line in (*blocks, *inline) if line and not line.startswith("#") and "…" not in line]


def _commands(text: str) -> list[list[str]]:
    """Return every command of a document, split into words; those inside a remote `--command`, too."""
    commands = []
    for line in _lines(text):
        for piece in _split(line):
            remote = [word.removeprefix("--command=") for word in piece if word.startswith("--command=")]
            commands += [part for text in remote for part in _split(text)] if remote else [piece]
    return commands


def _split(line: str) -> list[list[str]]:
    """Split a line into commands, and these into words without comments and without variables set in front."""
    words = shlex.split(line, comments=True)
    joints = [k for k, word in enumerate(words) if word == "&&"]
    parts = [words[a + 1 : b] for a, b in zip([-1, *joints], [*joints, len(words)], strict=True)]
    return [list(itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), part)) for part in parts]


def _module(command: list[str]) -> list[str] | None:
    """Return the module and the arguments that a command runs; None for other programs."""
    if command[:2] == ["python", "-m"]:
        return command[2:]
    if command[0] == SCRIPT and not command[1].startswith("-"):
        return [cli.COMMANDS[command[1]].module.removesuffix(".__main__"), *command[2:]]
    return None


COMMANDS = [command for path in DOCUMENTS for command in _commands(path.read_text())]
_STARTED = (_module(command) for command in COMMANDS)
MODULES = [list(words) for words in dict.fromkeys(tuple(words) for words in _STARTED if words)]
PYTHON = [(path.name, code) for path in DOCUMENTS for code in _blocks("python", path.read_text())]


def _spell(words: list[str]) -> str:
    return " ".join(words)[:80]


@functools.cache
def _help(*words: str) -> str:
    """Return the help of a module, or of its subcommand."""
    done = subprocess.run([sys.executable, "-m", *words, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return done.stdout


def _subcommand(module: str, arguments: list[str]) -> list[str]:
    """Return the words that choose a subcommand, whose flags its own help lists."""
    choices = {"fgnet_jax.prepare": 1, "convert_weights": 1, "fgnet_jax.evaluate": 2}
    words = arguments[: choices.get(module, 0)]
    return [] if any(word.startswith("-") for word in words) else words


def _config(argument: str) -> Any:
    """Load the configuration that `--config NAME:arguments` or `--config FILE:arguments` names."""
    name, colon, arguments = argument.partition(":")
    arguments = without_several(arguments)
    file = ROOT / (name if name.endswith(".py") else f"configs/{name}.py")
    assert file.is_file(), name
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(arguments) if colon else module.get_config()


def _check_override(config: Any, key: str, value: str) -> None:
    """Check that `--config.KEY=VALUE` names a key of the configuration, and is of its type."""
    for name in key.split("."):
        assert name in config, key
        config = config[name]
    type(config)(value)


def test_the_readme_is_short():
    """People read it in their first minute."""
    assert len(README.read_text().splitlines()) <= 150


def test_the_readme_begins_with_installing_and_testing():
    """Of its blocks of commands, the first that installs runs the demo, and the first that tests the fast tests."""
    blocks = _blocks("bash", README.read_text())
    demo = "pip install -e . && python -m fgnet_jax.train --config configs/demo.py\n"
    tests = "pip install -e '.[test]' && python -m pytest -m 'not slow and not full_size' -n 2\n"
    assert next(block for block in blocks if "install" in block) == demo
    assert next(block for block in blocks if "pytest" in block) == tests


def test_commands_are_found():
    """The tests below would pass on an empty list."""
    assert len(COMMANDS) > 40
    rooms = {"app", "evaluate", "export", "predict", "prepare", "train"}
    assert {words[0] for words in MODULES} >= {f"fgnet_jax.{room}" for room in rooms} | {"convert_weights", "pytest"}
    programs = {command[0] for command in COMMANDS}
    assert programs <= {"pip", "python", SCRIPT, "pre-commit", "gcloud", "cd", "bash"}


@pytest.mark.parametrize("words", MODULES, ids=_spell)
def test_modules_and_flags_exist(words):
    """A module or subcommand has help, which knows the flags."""
    module, *arguments = words
    if importlib.util.find_spec(module) is None:
        pytest.fail(f"there is no module {module}")
    flags = {word.split("=")[0] for word in arguments if word.startswith("--") and not word.startswith("--config.")}
    if module == "tests.parity.exact":
        assert all(flag in (ROOT / "tests/parity/exact.py").read_text() for flag in flags)  # it needs PyTorch
        return
    text = _help(module, *_subcommand(module, arguments)).replace("-", "_")
    unknown = [flag for flag in flags if not re.search(rf"__(\[no\])?{flag[2:].replace('-', '_')}\b", text)]
    assert not unknown, f"{module} has no {', '.join(unknown)}"


@pytest.mark.parametrize("words", [words for words in MODULES if "--config" in words], ids=_spell)
def test_configurations_and_their_keys_exist(words):
    """`--config NAME:arguments` loads, and every `--config.KEY` is a key of it."""
    config = _config(words[words.index("--config") + 1])
    for word in words:
        if word.startswith("--config."):
            _check_override(config, *word.removeprefix("--config.").split("=", 1))


def test_extras_exist():
    """`pip install -e '.[extra]'`."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lists = [found for path in DOCUMENTS for found in re.findall(r"\.\[([\w,]+)\]", path.read_text())]
    named = {name for found in lists for name in found.split(",")}
    assert named and named <= set(extras)


def test_markers_exist():
    """`pytest -m 'not MARKER'`."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    known = {line.partition(":")[0] for line in options["markers"]}
    expressions = [words[words.index("-m") + 1] for words in MODULES if words[0] == "pytest" and "-m" in words]
    named = {word for expression in expressions for word in re.findall(r"\w+", expression)} - {"not", "and", "or"}
    assert named and named <= known


def _anchor(heading: str) -> str:
    """Return a heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")


def _anchors(path: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    return {_anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("path", LINKING, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    """Relative links lead to files of the checkout, and to headings that are there."""
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()) if "://" not in link]
    for link in links:
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in _anchors(target), link


def test_every_document_is_linked_from_the_readme():
    """None is found by luck alone; one step over another document will do."""
    reached = {README}
    for _ in range(2):
        for path in [*reached]:
            links = re.findall(r"\]\(([^)\s#]+\.md)", path.read_text())
            reached |= {(path.parent / link).resolve() for link in links if "://" not in link}
    assert set(DOCUMENTS) <= reached


def test_images_are_small():
    """A clone is not for images: half a megabyte in all."""
    assert sum(path.stat().st_size for path in (ROOT / ".readme").iterdir()) < 2**19


def test_files_named_in_the_prose_exist():
    """`tests/parity/exact.py` and the like; files of the package may be named from its folder on, `train/loop.py`."""
    roots = (ROOT, ROOT / "fgnet_jax")
    folders = {path.name for root in roots for path in root.iterdir() if path.is_dir()}
    for path in DOCUMENTS:
        named = [name for name in re.findall(r"`([\w/.]+\.(?:py|md|npz))`", path.read_text()) if "/" in name]
        inside = [name for name in named if name.partition("/")[0] in folders]
        missing = [name for name in inside if not any((root / name).exists() for root in roots)]
        assert not missing, f"{path.name} names {missing}"


@pytest.mark.parametrize("name, code", PYTHON, ids=[name for name, _ in PYTHON])
def test_python_examples_name_what_exists(name, code):
    """Imports, functions of the package, and attributes of predictions in Python examples."""
    import fgnet_jax

    tree = ast.parse(code, name)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fgnet_jax"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
    for attribute in re.findall(r"\bpredictions\.(\w+)", code):
        known = fgnet_jax.Predictions
        assert attribute in known.__dataclass_fields__ or hasattr(known, attribute), attribute
    for attribute in re.findall(r"\bfgnet_jax\.([A-Za-z]\w*)", re.sub(r"^from .*$", "", code, flags=re.MULTILINE)):
        assert hasattr(fgnet_jax, attribute), attribute
    for attribute in re.findall(r"\b(?:detector|Detector)\.(\w+)", code):
        assert hasattr(fgnet_jax.Detector, attribute), attribute


def test_the_table_of_rooms_is_the_one_that_is_tested():
    """docs/architecture.md lists every room, and the rooms that it may import."""
    text = (ROOT / "docs/architecture.md").read_text()
    table = text[text.index("| room |") :].partition("\n\n")[0].splitlines()[2:]
    rows = [[re.findall(r"`([^`]+)`", cell) for cell in line.split("|")] for line in table]
    documented = {_room(room): {_room(other) for other in imported} for _, (room,), _, imported, _ in rows}
    assert documented == ROOMS


def _room(name: str) -> str:
    """Return a room's name in `ROOMS`: `export` for `export.py`, `models.ops` for `models/ops`."""
    return name.removesuffix(".py").replace("/", ".")


def test_the_citation_is_of_this_version():
    """CITATION.cff names the version that the package has."""
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_ci_runs_the_documented_steps():
    """The commands of docs/development.md are what `.ci/run` does, in that order."""
    script = (ROOT / ".ci/run").read_text()
    (block,) = [block for block in _blocks("bash", (ROOT / "docs/development.md").read_text()) if "pre-commit" in block]
    steps = [piece for line in block.splitlines() for piece in line.split(" && ")]
    places = [script.index(shlex.split(step)[-1] if "pip" in step else step) for step in steps]
    assert places == sorted(places)
