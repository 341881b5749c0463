"""Arguments of the preparation command for miniature corpora, and what it wrote."""

import json
from pathlib import Path
from typing import Any

from tests.miniature import Miniature

SPLITS = ("fold_0", "fold_1", "fold_2")


def arguments(mini: Miniature, data: Path, *more: str) -> list[str]:
    """Return the command's arguments, without the layout, for landmarks on disk and one process."""
    where = ["--source", str(mini.root), "--landmarks", str(mini.landmarks), "--data_dir", str(data), "--workers", "1"]
    return [*where, *more]


def report_of(data: Path, corpus: str) -> dict[str, Any]:
    """Read a report's JSON."""
    return json.loads((data / "reports" / corpus / "report.json").read_text())


def dataset_bytes(data: Path, corpus: str) -> dict[str, bytes]:
    """Read every file of a dataset."""
    return {path.name: path.read_bytes() for path in sorted((data / corpus / "1.0.0").iterdir())}
