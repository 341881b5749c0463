"""The rules about rooms and imports, checked on the source: docs/architecture.md shows them.

A room is a folder of the package, or a file at its top. Each may import what `ROOMS` says and nothing else.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fgnet_jax"

ROOMS: dict[str, set[str]] = {
    # ground: media and models import runtime at most
    "aus": set(),
    "media": {"runtime"},
    "models.ops": set(),
    "models": {"aus", "models.ops", "runtime"},
    "runtime": set(),
    # faces, data and metrics
    "data": {"aus", "runtime"},
    "data.synthetic": {"aus", "data", "runtime"},
    "faces": {"media"},
    "metrics": {"aus", "runtime"},
    # built from these
    "prepare.layouts": {"aus", "data", "runtime"},
    "prepare": {"aus", "data", "faces", "media", "prepare.layouts", "runtime"},
    "visualization": {"aus", "faces", "runtime"},
    # prediction and training
    "predict": {"aus", "faces", "media", "metrics", "models", "models.ops", "runtime", "visualization"},
    "train": {"aus", "data", "data.synthetic", "metrics", "models", "models.ops", "runtime", "visualization"},
    # commands on top of these
    "app": {"aus", "faces", "media", "metrics", "models", "predict", "runtime", "visualization"},
    "benchmark": {"models", "predict", "runtime"},
    "distill": {
        *("aus", "data", "faces", "media", "metrics", "models", "models.ops"),
        *("predict", "runtime", "train"),
    },
    "evaluate": {"aus", "data", "data.synthetic", "metrics", "models", "predict", "runtime", "train", "visualization"},
    "__init__": {"predict", "runtime"},  # its public names, imported when they are first used
    "cli": {"runtime"},
    "export": {"aus", "faces", "media", "models", "predict", "runtime"},
}
"""Every room, and the rooms that it may import, imports for type checkers alone among them."""

Graph = Mapping[str, set[str]]
"""Module to the modules of the package that it imports."""


def module_of(path: Path, package: Path = PACKAGE) -> str:
    """`fgnet_jax.train.loop` for its file."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str, rooms: Iterable[str] = ROOMS) -> str | None:
    """The innermost room that a module is in; None where it is in none that is listed."""
    inner = module.split(".", 1)[1] if "." in module else "__init__"
    fitting = [room for room in rooms if inner == room or inner.startswith(f"{room}.")]
    return max(fitting, key=len, default=None)


def import_graph(package: Path = PACKAGE) -> Graph:
    """What every module imports of the package, wherever in it the import stands."""
    paths = sorted(package.rglob("*.py"))
    modules = {module_of(path, package) for path in paths}
    return {module_of(path, package): _imports(path, modules) - {module_of(path, package)} for path in paths}


def _imports(path: Path, modules: set[str]) -> set[str]:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            imported |= {name if name in modules else node.module for name in named}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    return imported & modules


def forbidden(graph: Graph) -> list[str]:
    """Imports that `ROOMS` does not allow, and files of rooms that it does not list."""
    wrong = [f"{module} is in no room" for module in graph if room_of(module) is None]
    for module, imported in graph.items():
        room = room_of(module)
        for other in imported:
            other_room = room_of(other)
            if room and other_room and other_room != room and other_room not in ROOMS[room]:
                wrong.append(f"{module} imports {other}")
    return sorted(wrong)


def circle(graph: Graph) -> list[str]:
    """Modules that import each other in a circle, the first found; empty where there is none."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for other in sorted(graph.get(module, ())):
            if imported := visit(other, [*way, module]):
                return imported
        done.add(module)
        return []

    return next((imported for module in sorted(graph) if (imported := visit(module, []))), [])


def test_rooms_import_what_the_table_allows():
    """Every file is in a room that is listed, and imports no other rooms than that room may."""
    assert forbidden(import_graph()) == []


def test_the_table_has_no_room_too_many():
    """Every room that is listed is there, and every import that is allowed is made."""
    graph = import_graph()
    used = {room: {room_of(o) for m, others in graph.items() if room_of(m) == room for o in others} for room in ROOMS}
    assert {room: allowed - used[room] for room, allowed in ROOMS.items()} == {room: set() for room in ROOMS}
    assert {room_of(module) for module in graph} == set(ROOMS)


def test_files_import_each_other_in_no_circle():
    """Imports inside of functions and for type checkers alone count, too."""
    assert circle(import_graph()) == []


def plant(tmp_path: Path, files: Mapping[str, str]) -> Graph:
    """The graph of a package with these files."""
    for name, text in files.items():
        path = tmp_path / "fgnet_jax" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return import_graph(tmp_path / "fgnet_jax")


def test_a_planted_import_from_below_is_found(tmp_path):
    """Within a function, and of a file that is in no room."""
    files = {
        "__init__.py": "",
        "models/fgnet.py": "def f():\n    from fgnet_jax.train import loop\n",
        "train/loop.py": "",
        "attic.py": "",
    }
    assert forbidden(plant(tmp_path, files)) == [
        "fgnet_jax.attic is in no room",
        "fgnet_jax.models.fgnet imports fgnet_jax.train.loop",
    ]


def test_a_planted_circle_is_found(tmp_path):
    """Of three files, one of whose imports is for type checkers alone."""
    late = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fgnet_jax.predict.a import A\n"
    files = {
        "__init__.py": "",
        "predict/a.py": "from fgnet_jax.predict import b\n",
        "predict/b.py": "from fgnet_jax.predict.c import C\n",
        "predict/c.py": late,
    }
    a, b, c = (f"fgnet_jax.predict.{name}" for name in "abc")
    assert circle(plant(tmp_path, files)) == [a, b, c, a]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path):
    """Under 400 lines."""
    assert len(path.read_text().splitlines()) < 400


def _loaded(imports: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after these imports."""
    code = f"import sys, {imports}; print(' '.join(set(m.split('.')[0] for m in sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_the_package_is_light():
    """No JAX, no reader of anything, no image library."""
    heavy = {"jax", "flax", "torch", "tensorflow", "tensorflow_datasets", "grain", "orbax", "PIL", "cv2", "dlib"}
    assert not heavy & _loaded("fgnet_jax")


def test_what_needs_no_jax_imports_none():
    """AU tables, folds, preparation with its dataset builders: workers that make data start fast."""
    assert "jax" not in _loaded("fgnet_jax.aus, fgnet_jax.data.folds, fgnet_jax.prepare.builders")
