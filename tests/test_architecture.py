"""The house's rules about imports, checked on the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fgnet_jax"

ALLOWED = {
    "aus": set(),
    "ops": set(),
    "models": {"ops"},
    "heatmaps": {"aus"},
    "losses": set(),
    "metrics": {"aus"},
    "intervals": {"metrics"},
    "thresholds": {"aus", "metrics", "runtime"},
    "published": set(),
    "charts": {"aus", "intervals", "plots"},
    "mistakes": {"answers", "aus", "plots"},
    "report": {"aus", "intervals", "published", "results", "runtime"},
    "answers": {"aus"},
    "optim": set(),
    "state": {"models", "optim"},
    "augment": set(),
    "twice": set(),
    "steps": {"augment", "aus", "heatmaps", "losses", "models", "optim", "state", "twice"},
    "data": {"aus"},
    "faces": set(),
    "sharding": set(),
    "xla": set(),
    "checkpoint": set(),
    "writers": {"aus"},
    "runtime": set(),
    "pictures": set(),
    "media": {"faces", "pictures"},
    "dialects": {"aus"},
    "tables": {"dialects"},
    "batching": {"tables"},
    "archives": {"dialects"},
    "sidecar": {"runtime"},
    "progress": set(),
    "smoothing": set(),
    "movies": {"faces"},
    "brushes": {"aus"},
    "legends": {"aus", "brushes"},
    "overlays": {"brushes", "legends"},
    "scenes": {"brushes", "faces", "legends"},
    "weights": {"checkpoint", "models"},
    "config": {"optim", "models"},
}
"""What each lower room may import of the others; rooms that are not listed are mains, which combine."""


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_lower_rooms_never_import_higher_ones(path):
    """Each file's imports of the package against the table."""
    room = _room(path)
    if room not in ALLOWED:
        return
    ours = {name.split(".")[1] for name in _imports(path) if name.startswith("fgnet_jax.")} - {"__version__"}
    assert ours - {room} <= ALLOWED[room]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path):
    """Under 400 lines."""
    assert len(path.read_text().splitlines()) < 400


def test_importing_the_package_is_light():
    """No JAX, no reader of anything, no picture library."""
    code = "import sys, fgnet_jax; print(sorted(set(m.split('.')[0] for m in sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"jax", "flax", "torch", "tensorflow", "tensorflow_datasets", "grain", "orbax", "PIL", "cv2", "dlib"}
    assert not heavy & set(ast.literal_eval(loaded))


def test_what_needs_no_jax_imports_none():
    """AU tables, protocols, preparation with its dataset builders: workers that make data start fast."""
    code = "import sys, fgnet_jax.aus, fgnet_jax.data.protocols, fgnet_jax.prepare; print('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
