"""What all images share: colours, the look of matplotlib's axes, and saving."""

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from fgnet_jax.runtime.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, DIM, GRID = "#22262e", "#7b8494", "#e3e6eb"
"""Colours of text, of less important text, and of lines in the background, in all images on white."""


def style_axes(axes: "Axes", *, title: str, x_label: str, y_label: str) -> None:
    """Give axes the look of all charts: titles and labels in the project's colours, a grid, no box."""
    axes.set_title(title, color=INK, fontsize=12, loc="left", fontweight="bold")
    axes.set_xlabel(x_label, color=DIM)
    axes.set_ylabel(y_label, color=DIM)
    axes.grid(color=GRID, linewidth=0.8)
    axes.tick_params(colors=DIM, which="both", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write a matplotlib figure as PNG, whole or not at all: a viewer never reads a part of an image."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", facecolor="white")


def save_image(image: Image.Image, path: str | Path) -> None:
    """Write a Pillow image as PNG, whole or not at all."""
    with replacing(path) as temporary:
        image.save(temporary, "PNG")
