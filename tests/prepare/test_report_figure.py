"""The report's figure."""

import numpy as np
from PIL import Image


def test_the_figure_shows_faces(prepared):
    """Twelve of them."""
    with Image.open(prepared / "reports/bp4d/report.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] == 1400 and pixels.shape[0] > 900
    faces = pixels[560:]
    assert (np.ptp(faces, axis=2) > 30).mean() > 0.2, "skin is coloured"
