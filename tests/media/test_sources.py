"""Sources of paths and values: every kind is found, in order, and whatever is wrong is reported."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.media import sources
from tests.miniature import write_video


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Make a folder of various files, which is the working directory."""
    image = np.zeros((40, 40, 3), np.uint8)
    for name in ("a10.png", "a2.PNG", "sub/b.jpg", ".hidden.png", ".git/c.png", "sub/deep/d.webp", "sub/notes.txt"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, "PNG")
    write_video(tmp_path / "folder/clip.avi", [image])
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _names(results):
    return [source.name for source in results]


def test_a_folder_is_walked_in_natural_order(tree):
    """2 before 10, images and videos only, hidden ones left out, upper-case suffixes too."""
    results = sources.find(["folder"])
    folders = ["sub/b.jpg", "sub/deep/d.webp"]
    assert _names(results) == [f"folder/{name}" for name in ("a2.PNG", "a10.png", "clip.avi", *folders)]
    assert [source.kind for source in results] == ["image", "image", "video", "image", "image"]
    assert results[2].path == "folder/clip.avi"


def test_links_to_folders_are_followed(tree):
    """Such as a folder on another disk; what is found without the link is not found again."""
    os.rename("folder/sub", "elsewhere")
    for link in ("folder/sub", "elsewhere/again"):
        os.symlink(tree / "elsewhere", link)
    os.symlink(tree / "elsewhere/deep", "folder/twice")
    names = ["a2.PNG", "a10.png", "clip.avi", "sub/b.jpg", "sub/deep/d.webp"]
    assert _names(sources.find(["folder"])) == [f"folder/{name}" for name in names]


def test_patterns_lists_and_standard_input(tree):
    """In the order of the words; a list's lines may be folders and patterns."""
    (tree / "list.txt").write_text("folder/sub/b.jpg\n\nfolder/a*.png\r\n")
    assert _names(sources.find(["folder/**/*.jpg", "@list.txt"])) == [
        "folder/sub/b.jpg",
        "folder/sub/b.jpg",
        "folder/a10.png",
    ]
    assert _names(sources.find(["-", "folder/a10.png"], io.StringIO("folder/clip.avi\n"))) == [
        "folder/clip.avi",
        "folder/a10.png",
    ]


def test_lists_of_other_systems(tree, monkeypatch):
    """A byte order mark and CRLF, as on Windows; names that are not UTF-8."""
    (tree / "list.txt").write_bytes(b"\xef\xbb\xbffolder/a10.png\r\n")
    assert [source.kind for source in sources.find(["@list.txt"])] == ["image"]
    os.link("folder/a10.png", b"\xff.png")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff.png\n"), "utf-8"))
    assert [(source.name, source.kind) for source in sources.find(["-"])] == [(r"\xff.png", "image")]


def test_a_name_like_a_pattern_or_a_list_is_that_file(tree):
    """Many file names have brackets."""
    for name in ("face[1].png", "@me.png"):
        os.link("folder/a10.png", name)
        (source,) = sources.find([name])
        assert (source.kind, source.name) == ("image", name)


def test_a_folder_has_whatever_video_is_read(tmp_path):
    """Also streams without a container, and what is rare today; whatever the case of their names."""
    suffixes = "h264 264 hevc 265 m1v m2v mjpeg mjpg y4m nut ivf rm rmvb mod tod m2t qt f4v ogm divx MPE".split()
    for suffix in suffixes:
        (tmp_path / f"a.{suffix}").write_bytes(b"any")
    found = sources.find([str(tmp_path)])
    assert {source.name.rpartition(".")[2]: source.kind for source in found} == dict.fromkeys(suffixes, "video")


def test_photographs_in_one_file_are_no_video(tmp_path):
    """As some cameras store several, with and without a suffix: FFmpeg would take them for a video."""
    for name in ("several", "several.mpo"):
        with Image.new("RGB", (64, 48), (200, 90, 90)) as image:
            image.save(tmp_path / "a.jpg")
        (tmp_path / name).write_bytes(3 * (tmp_path / "a.jpg").read_bytes())
        assert [source.kind for source in sources.find([str(tmp_path / name)])] == ["image"]


def test_without_a_suffix_the_first_bytes_decide(tree):
    """For files that are named; a folder's are found by their suffixes."""
    os.rename("folder/clip.avi", "clip")
    assert [source.kind for source in sources.find(["clip", "folder/sub/notes.txt"])] == ["video", "image"]


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("nowhere.png", "there is no such file or folder"),
        ("empty", "a folder without images or videos"),
        ("*.xyz", "no file matches"),
        ("@nowhere.txt", "the list cannot be read: No such file or directory"),
        ("-", "names no files"),
        ("a\0b.png", "there is no such file or folder"),
    ],
)
def test_a_word_that_names_nothing_says_why(tree, word, problem):
    """One source of kind "missing" each, and others are still found."""
    wrong, good = sources.find([word, "folder/a10.png"], io.StringIO(""))
    assert (wrong.kind, wrong.name, wrong.problem) == ("missing", word.replace("\0", r"\x00"), problem)
    assert good.kind == "image"


def test_a_folder_that_cannot_be_read_is_reported(tree, monkeypatch):
    """Beside the sources of other folders."""
    walk = os.walk

    def forbidden(top, onerror):
        onerror(PermissionError(13, "Permission denied", "folder/sub"))
        yield from walk("folder/sub/deep")

    monkeypatch.setattr(os, "walk", forbidden)
    good, wrong = sources.find(["folder"])
    assert good.kind == "image" and wrong.name == "folder/sub"
    assert wrong.problem == "the folder cannot be read: Permission denied"


def test_python_gives_arrays_paths_and_iterators_of_them(tree):
    """One after the other, so that an iterator may be endless."""
    image = np.zeros((8, 9, 3), np.uint8)

    def endless():
        while True:
            yield image

    assert [s.name for s in sources.given([image, "folder/a10.png", image])] == [
        "array 0",
        "folder/a10.png",
        "array 1",
    ]
    assert [s.kind for s in sources.given(np.zeros((3, 8, 8, 3), np.uint8))] == ["array"] * 3
    assert next(sources.given(endless())).array is image
    assert [s.name for s in sources.given(tree / "folder" / "a10.png")] == [str(tree / "folder" / "a10.png")]
    (wrong,) = sources.given([np.zeros((8, 8))])
    assert wrong.problem == "an array must be uint8 (height, width, 3), got float64 (8, 8)"
    with pytest.raises(TypeError, match="Pillow images, got int"):
        list(sources.given(3))


def test_pillow_images_are_taken(tree):
    """Opened or made, alone or in lists; what cannot be used says why."""
    image = Image.fromarray(np.arange(48 * 40 * 3, dtype=np.uint8).reshape(48, 40, 3))
    (alone,) = sources.given(image)
    assert alone.array is not None and alone.kind == "array"
    np.testing.assert_array_equal(alone.array, np.asarray(image))
    with Image.open("folder/a10.png") as opened:
        results = list(sources.given([image, opened, Image.new("F", (40, 40)), "folder/a2.PNG"]))
    assert [source.kind for source in results] == ["array", "array", "missing", "image"]
    assert results[2].problem == "pixels of type F are not read: their range is not defined"
    image.save("a.gif", save_all=True, append_images=[Image.new("RGB", (40, 48))])
    with Image.open("a.gif") as animated:
        (source,) = sources.given(animated)
    assert source.problem and "give its file's path" in source.problem


def test_tensors_are_taken(tree):
    """Of uint8, with the channels first or last; others are refused as arrays are, or with the library's reason."""
    torch = pytest.importorskip("torch")
    image = np.arange(48 * 40 * 3, dtype=np.uint8).reshape(48, 40, 3)
    tensor = torch.from_numpy(image)
    for given in (
        tensor,
        [tensor],
        tensor.permute(2, 0, 1),
        [tensor.permute(2, 0, 1)],
        tensor[None].repeat(1, 1, 1, 1),
    ):
        (source,) = sources.given(given)
        assert source.array is not None
        np.testing.assert_array_equal(source.array, image)
    assert len(list(sources.given(tensor.permute(2, 0, 1)[None].repeat(3, 1, 1, 1)))) == 3
    (wrong,) = sources.given([torch.rand(3, 40, 48, requires_grad=True)])
    assert wrong.problem == "an array must be uint8 (height, width, 3), got float32 (40, 48, 3)"
    with pytest.raises(TypeError, match="a Tensor that cannot become a NumPy array: .*BFloat16"):
        list(sources.given(torch.zeros(3, 40, 48, dtype=torch.bfloat16)))


def test_columns_of_paths_are_no_arrays(tree):
    """Such as of pandas, or NumPy's arrays of texts."""
    pandas = pytest.importorskip("pandas")
    for words in (pandas.Series(["folder/a10.png"]), np.array(["folder/a10.png"])):
        assert [source.name for source in sources.given(words)] == ["folder/a10.png"]


def test_cameras_have_numbers():
    """And are named by them."""
    camera = sources.webcam(1)
    assert (camera.kind, camera.path, camera.name) == ("webcam", 1, "webcam 1")
    camera = sources.webcam("rtsp://anna:secret@host/x")
    assert (camera.path, camera.name) == ("rtsp://anna:secret@host/x", "webcam rtsp://host/x")


def test_home_folders_are_expanded_in_lists(tree, monkeypatch):
    """And for Python's callers: no shell does it there. A name that begins with `~` is that file."""
    monkeypatch.setenv("HOME", os.getcwd())
    with open("list.txt", "w") as stream:
        stream.write("~/face.jpg\n~draft.jpg\n")
    open("face.jpg", "w").close()
    open("~draft.jpg", "w").close()
    assert [source.path for source in sources.find(["@list.txt"])] == [os.path.abspath("face.jpg"), "~draft.jpg"]


def test_files_of_several_images_have_their_own_kinds(tree):
    """By their content: an animation is one under any image's name, and most GIFs, PNGs and TIFFs are one image."""
    images = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    for name, kind, options in (
        ("a.gif", "GIF", {}),
        ("a.webp", "WEBP", {}),
        ("a.apng", "PNG", {}),
        ("a.avif", "AVIF", {}),
        ("a.jpg", "GIF", {}),
        ("bare", "GIF", {}),
        ("a.tif", "TIFF", {}),
    ):
        images[0].save(name, kind, save_all=True, append_images=images[1:], **options)
        images[0].save(f"one.{name}", kind)
        expected = "pages" if kind == "TIFF" else "animation"
        assert [source.kind for source in sources.find([name, f"one.{name}"])] == [expected, "image"], name
