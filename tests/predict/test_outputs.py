"""Names of the files that prediction writes: unique, and readable."""

import pytest

from fgnet_jax.predict import outputs


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["a.png", "x/b.jpg"], ["a.png", "b.png"]),
        (["x/a.png", "y/a.png", "b.png"], ["x-a.png", "y-a.png", "b.png"]),
        (["1/x/a.png", "2/x/a.png"], ["1-x-a.png", "2-x-a.png"]),
        (["a.png", "a.jpg", "a.png"], ["a.png", "a-2.png", "a-3.png"]),
        (["A.png", "a.png", "a-2.png"], ["A.png", "a-2.png", "a-2-2.png"]),
        (["../a.png", "./b.png", "..."], ["a.png", "b.png", "....png"]),
        (["/", ""], ["image.png", "image-2.png"]),
    ],
)
def test_file_names_are_unique_and_tell_where_they_come_from(sources, names):
    """Name them so also on file systems that ignore case."""
    assert outputs.file_names(sources) == names


def test_long_names_are_cut():
    """Stay below the 255 bytes of file systems."""
    (name,) = outputs.file_names(["é" * 120 + ".png"])
    assert len(name.encode()) < 255
