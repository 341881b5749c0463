"""What all images share: they are saved whole or not at all."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fgnet_jax.visualization import figures


def test_images_are_saved_as_png(tmp_path):
    """Write a Pillow image and a matplotlib figure, on white, and no other file."""
    figures.save_image(Image.new("RGB", (8, 4), "red"), tmp_path / "image.png")
    figures.save_figure(Figure(figsize=(2, 1), dpi=50), tmp_path / "figure.png")
    assert {path.name for path in tmp_path.iterdir()} == {"image.png", "figure.png"}
    with Image.open(tmp_path / "image.png") as image, Image.open(tmp_path / "figure.png") as figure:
        assert image.format == figure.format == "PNG" and image.size == (8, 4) and figure.size == (100, 50)
        assert (np.asarray(figure.convert("RGB")) == 255).all()


def test_an_image_that_cannot_be_drawn_leaves_the_former_one(tmp_path):
    """Keep what the file holds, and remove the temporary one."""
    figures.save_image(Image.new("RGB", (8, 4), "red"), tmp_path / "image.png")
    before = (tmp_path / "image.png").read_bytes()
    with pytest.raises(OSError, match="cannot write mode"):
        figures.save_image(Image.new("YCbCr", (8, 4)), tmp_path / "image.png")
    assert (tmp_path / "image.png").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_axes_have_one_look():
    """Set the title and the labels of both axes."""
    axes = Figure().subplots()
    figures.style_axes(axes, title="Title", x_label="step", y_label="loss")
    assert (axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()) == ("Title", "step", "loss")


def test_a_footer_is_drawn_below(tmp_path):
    """Leave the image as it is, and write small grey text under it, in as many lines as the width needs."""
    red = Image.new("RGB", (200, 40), "red")
    heights = []
    for text in ("", "disfa/1.0.0 0123456789ab", "a longer text " * 10):
        figures.save_image(red, tmp_path / "image.png", text)
        with Image.open(tmp_path / "image.png") as image:
            pixels = np.asarray(image.convert("RGB"))
        heights.append(len(pixels))
        assert (pixels[:40] == (255, 0, 0)).all() and (pixels[40:].min() < 200 if text else True)
    assert heights[0] == 40 < heights[1] < heights[2]
