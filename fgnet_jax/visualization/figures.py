"""."""

import io
import os
from pathlib import Path
from typing import Any

from PIL import Image

INK, DIM, GRID = "#22262e", "#7b8494", "#e3e6eb"
"""Colours of text, of what matters less, and of lines behind, in all images."""


def plain_axes(axes: Any, title: str, across: str, up: str) -> None:
    """The look of all panels: titles and names in the project's colours, a grid, no box."""
    axes.set_title(title, color=INK, fontsize=12, loc="left", fontweight="bold")
    axes.set_xlabel(across, color=DIM)
    axes.set_ylabel(up, color=DIM)
    axes.grid(color=GRID, linewidth=0.8)
    axes.tick_params(colors=DIM, which="both", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def save_figure(figure: Any, path: str | Path) -> None:
    """Writes a matplotlib figure as PNG, the whole file at once."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    _write_bytes(path, buffer.getvalue())


def save_image(image: Image.Image, path: str | Path) -> None:
    """Writes a Pillow image as PNG, the whole file at once."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    _write_bytes(path, buffer.getvalue())


def _write_bytes(path: str | Path, data: bytes) -> None:
    """Replaces a file at once: whoever looks at it while the run goes on sees a whole image."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
