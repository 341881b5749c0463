"""Arguments of the preparation command for miniature corpora, and what it wrote."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgnet_jax.data.synthetic.corpus import random_faces
from tests.miniature import Miniature

SPLITS = ("fold_0", "fold_1", "fold_2")


def arguments(mini: Miniature, data: Path, *more: str) -> list[str]:
    """Return the command's arguments, without the layout, for landmarks on disk and, unless told else, one process."""
    where = ["--source", str(mini.root), "--landmarks", str(mini.landmarks), "--data_dir", str(data)]
    return [*where, *(() if "--workers" in more else ("--workers", "1")), *more]


def report_of(data: Path, corpus: str) -> dict[str, Any]:
    """Read a report's JSON."""
    return json.loads((data / "reports" / corpus / "report.json").read_text())


def dataset_bytes(data: Path, corpus: str) -> dict[str, bytes]:
    """Read every file of a dataset."""
    return {path.name: path.read_bytes() for path in sorted((data / corpus / "1.0.0").iterdir())}


def own_table(root: Path, *, subjects: int, frames: int = 2, folds: Sequence[int] | None = None) -> Path:
    """Write a table of rendered faces with landmarks: AU 6 in every second frame, AU 12 of every second subject."""
    root.mkdir(parents=True, exist_ok=True)
    images, points, _ = random_faces("synthetic_bp4d", subjects * frames, seed=1)
    rows = ["image,subject,au6,au12" + (",fold" if folds else "")]
    for k, (image, landmarks) in enumerate(zip(images, points, strict=True)):
        Image.fromarray(image).save(root / f"{k}.png")
        np.save(root / f"{k}.npy", landmarks)
        column = f",{folds[k % subjects]}" if folds else ""
        rows.append(f"{k}.png,p{k % subjects},{k // subjects % 2},{k % subjects % 2}{column}")
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    return root


def own_arguments(root: Path, data: Path, *more: str, name: str = "mine") -> list[str]:
    """Return the arguments that prepare such a table."""
    where = ["--source", str(root), "--landmarks", str(root), "--data_dir", str(data), "--workers", "1"]
    return ["csv", *where, "--name", name, *more]
