"""What all images share: colours, the look of matplotlib's axes, and saving."""

import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from fgnet_jax.runtime.files import replacing
from fgnet_jax.visualization.painting import font

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, DIM, GRID = "#22262e", "#7b8494", "#e3e6eb"
"""Colours of text, of less important text, and of lines in the background, in all images on white."""

_FOOTER_SIZE, _FOOTER_MARGIN = 12, 12  # pixels


def style_axes(axes: "Axes", *, title: str, x_label: str, y_label: str) -> None:
    """Give axes the look of all charts: titles and labels in the project's colours, a grid, no box."""
    axes.set_title(title, color=INK, fontsize=12, loc="left", fontweight="bold")
    axes.set_xlabel(x_label, color=DIM)
    axes.set_ylabel(y_label, color=DIM)
    axes.grid(color=GRID, linewidth=0.8)
    axes.tick_params(colors=DIM, which="both", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def save_figure(figure: "Figure", path: str | Path, footer: str = "") -> None:
    """Write a matplotlib figure as PNG, whole or not at all: a viewer never reads a part of an image.

    Args:
      figure: The figure.
      path: The PNG.
      footer: A line below it that says what it is of; none if empty.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", facecolor="white")
    with Image.open(drawn) as image:
        save_image(image.convert("RGB"), path, footer)


def save_image(image: Image.Image, path: str | Path, footer: str = "") -> None:
    """Write a Pillow image as PNG, whole or not at all, with a footer as `save_figure` has it."""
    if footer:
        image = _with_footer(image, footer)
    with replacing(path) as temporary:
        image.save(temporary, "PNG")


def _with_footer(image: Image.Image, text: str) -> Image.Image:
    """Return the image with a small grey text below it, in as many lines as its width needs."""
    letters = font(_FOOTER_SIZE)
    width = max(1, int((image.width - 2 * _FOOTER_MARGIN) / letters.getlength("0")))
    lines = textwrap.wrap(text, width)
    height = len(lines) * (_FOOTER_SIZE + 4) + _FOOTER_MARGIN
    sheet = Image.new("RGB", (image.width, image.height + height), "white")
    sheet.paste(image, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        pen.text((_FOOTER_MARGIN, image.height + number * (_FOOTER_SIZE + 4)), line, DIM, letters)
    return sheet
