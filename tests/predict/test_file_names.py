"""Names of the files that prediction writes for each input: unique, and readable."""

import re

import pytest

from fgnet_jax.media.sources import Source
from fgnet_jax.predict import file_names
from fgnet_jax.predict.file_names import ImageFolder


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["a.png", "x/b.jpg"], ["a", "b"]),
        (["x/a.png", "y/a.png", "b.png"], ["x-a", "y-a", "b"]),
        (["1/x/a.png", "2/x/a.png"], ["1-x-a", "2-x-a"]),
        (["a.png", "a.jpg", "a.png"], ["a", "a-2", "a-3"]),
        (["A.png", "a.png", "a-2.png"], ["A", "a-2", "a-2-2"]),
        (["../a.png", "./b.png", "..."], ["a", "b", "..."]),
        (["/", ""], ["image", "image-2"]),
    ],
)
def test_names_are_unique_and_tell_where_they_come_from(sources, names):
    """Name them so also on file systems that ignore case."""
    assert file_names.stems(sources) == names


def test_long_names_are_cut():
    """Stay below the 255 bytes of file systems."""
    (name,) = file_names.stems(["é" * 120 + ".png"])
    assert len(f"{name}.parquet.rows.csv".encode()) < 255


SOURCES = [
    Source("x/a.jpg", "image"),
    Source("a-1.jpg", "image"),
    Source("clip.mp4", "video"),
    Source("scan.tif", "pages"),
]


def test_pngs_are_named_by_input_frame_and_face():
    """Give a video a folder, and number faces by their face_id."""
    overlays, faces = (ImageFolder("out", SOURCES, per_face=flag) for flag in (False, True))
    assert [overlays.name(k, 12) for k in range(4)] == ["a.png", "a-1.png", "clip/000012.png", "scan/000012.png"]
    assert [faces.name(k, 12, 3) for k in range(3)] == ["a-3.png", "a-1-3.png", "clip/000012-3.png"]
    assert overlays.folders() == ["out/clip", "out/scan"]


def test_a_videos_folder_is_no_images_file():
    """Keep apart x.png, the drawing of x.jpg, and the folder of a video that is called x.png.mp4."""
    folder = ImageFolder("out", [Source("x.jpg", "image"), Source("x.png.mp4", "video")], per_face=False)
    assert (folder.name(0, 1), folder.name(1, 1)) == ("x.png", "x.png_/000001.png")
    clips = [Source(name, "video") for name in ("x.png.mp4", "x.png_.mp4", "X.PNG.avi", "x.png_-2.mkv")]
    folders = ImageFolder("out", [Source("x.jpg", "image"), *clips], per_face=False).folders()
    assert len({name.casefold() for name in folders}) == 4 and not any(name.endswith(".png") for name in folders)


@pytest.mark.parametrize(
    ("per_face", "found"),
    [(False, ["a.png", "clip/000001.png"]), (True, ["a-0.png", "a-1-10.png", "clip/000001-0.png"])],
)
def test_files_of_an_earlier_run_are_known_by_their_names(tmp_path, per_face, found):
    """Find those alone that these inputs may give."""
    others = ["b.png", "b-0.png", "a-x.png", "clip/note.png", "clip/1.png", "other/000001.png", "a-1-10.jpg"]
    for name in ["a.png", "a-0.png", "a-1-10.png", "clip/000001.png", "clip/000001-0.png", *others]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    existing = ImageFolder(str(tmp_path), SOURCES, per_face=per_face).existing()
    assert [re.sub(f"^{re.escape(str(tmp_path))}/", "", path) for path in existing] == found
    assert ImageFolder(str(tmp_path / "none"), SOURCES, per_face=per_face).existing() == []
