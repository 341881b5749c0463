"""Reading images: every pixel type is read correctly or refused by name, and no file's content does harm."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.media import images

FACE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)


def saved(path, image, **options):
    """Save an array or a Pillow image; returns the path."""
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def png_header(width, height):
    """Return a PNG that claims a size, with next to nothing in it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return start + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm"])
def test_lossless_formats_come_back_bit_for_bit(tmp_path, name):
    """RGB in, the same RGB out."""
    np.testing.assert_array_equal(images.read(saved(tmp_path / name, FACE)), FACE)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.jp2"])
def test_lossy_formats_come_back_nearly(tmp_path, name):
    """A flat colour survives compression to a few levels."""
    flat = np.full((48, 48, 3), (200, 120, 40), np.uint8)
    image = images.read(saved(tmp_path / name, flat))
    assert image.dtype == np.uint8 and np.abs(image.astype(int) - flat).max() <= 4


def test_the_content_decides_the_format_not_the_suffix(tmp_path):
    """A PNG that is called .jpg is read."""
    np.testing.assert_array_equal(images.read(saved(tmp_path / "a.jpg", FACE, format="PNG")), FACE)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_greyscale_gives_three_equal_channels(tmp_path, mode):
    """Grey and black-and-white images become RGB."""
    grey = Image.fromarray(FACE).convert(mode)
    image = images.read(saved(tmp_path / "a.png", grey))
    np.testing.assert_array_equal(image, np.asarray(grey.convert("L"))[..., None].repeat(3, -1))


def test_palette_colours_are_looked_up(tmp_path):
    """Indices become their colours."""
    palette = Image.new("P", (40, 40), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert (images.read(saved(tmp_path / "a.png", palette)) == (200, 100, 50)).all()


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (Image.new("RGBA", (40, 40), (255, 0, 100, 51)), {}, (51, 0, 20)),
        (Image.new("LA", (40, 40), (250, 0)), {}, (0, 0, 0)),
        (Image.new("RGB", (40, 40), (9, 8, 7)), {"transparency": (9, 8, 7)}, (0, 0, 0)),
        (Image.new("L", (40, 40), 9), {"transparency": 9}, (0, 0, 0)),
        (Image.new("P", (40, 40), 0), {"transparency": b"\0"}, (0, 0, 0)),
    ],
    ids=["RGBA", "LA", "transparent colour", "transparent grey", "palette with alpha"],
)
def test_transparency_is_composited_over_black(tmp_path, image, options, expected):
    """Whatever kind of transparency a file has."""
    if image.mode == "P":
        image.putpalette([255, 255, 255])
    np.testing.assert_array_equal(images.read(saved(tmp_path / "a.png", image, **options))[0, 0], expected)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bit_grey_keeps_the_high_byte(tmp_path, name):
    """Not clipped at 255, as plain conversion would."""
    samples = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    np.testing.assert_array_equal(images.read(saved(tmp_path / name, samples))[..., 0], samples >> 8)


def test_sixteen_bit_tiff_with_white_as_zero_is_inverted(tmp_path):
    """Photometric interpretation 0."""
    samples = np.full((40, 40), 0x1000, np.uint16)
    path = saved(tmp_path / "a.tif", samples, tiffinfo={262: 0})
    assert (images.read(path) == 255 - 0x10).all()


def test_cmyk_jpeg_has_the_right_colours(tmp_path):
    """Adobe's inverted CMYK: red stays red."""
    red = Image.new("RGB", (40, 40), (220, 30, 30))
    image = images.read(saved(tmp_path / "a.jpg", red.convert("CMYK"), quality=95))
    assert np.abs(image.astype(int) - (220, 30, 30)).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_exif_orientation_is_undone(tmp_path, name, orientation):
    """An image stored in any of the eight orientations is read upright."""
    upright = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 1, 7: 3, 8: 3}  # quarter turns, counter-clockwise, as it is stored
    stored = np.rot90(upright, turns[orientation])
    if orientation in (2, 4):
        stored = stored[:, ::-1]
    if orientation in (5, 7):
        stored = stored[::-1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path / name, np.ascontiguousarray(stored), exif=exif, **options)
    np.testing.assert_array_equal(images.read(path), upright)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_phones_images_are_read_upright(tmp_path, orientation):
    """HEIC, encoded with the rotation in it, as phones do."""
    light = np.linspace(0, 250, 64 * 96).reshape(64, 96).astype(np.uint8)
    upright = np.stack([light, light[::-1], light[:, ::-1]], -1)
    stored = np.ascontiguousarray(np.rot90(upright, {1: 0, 3: 2, 6: 1, 8: 3}[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    images._readable_formats()  # registers the reader, which writes too
    image = images.read(saved(tmp_path / "a.heic", stored, exif=exif.tobytes(), quality=95))
    assert image.shape == upright.shape and np.abs(image.astype(int) - upright).mean() < 4


def test_heic_without_its_reader_says_what_to_install(tmp_path, monkeypatch):
    """By the file's first bytes."""
    images._readable_formats()
    path = saved(tmp_path / "a.heic", FACE)
    monkeypatch.setattr(images, "_readable_formats", lambda: ("PNG", "JPEG"))
    with pytest.raises(images.ImageError, match=r"pip install 'fgnet_jax\[heic\]'"):
        images.read(path)


def test_a_photo_of_a_hundred_megapixels_is_refused_by_its_header(tmp_path):
    """A JPEG whose header says 12000x9000: nothing is decoded."""
    content = bytearray(saved(tmp_path / "a.jpg", FACE).read_bytes())
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", 9000, 12000)
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(images.ImageError, match="larger than 50,000,000 pixels; shrink it first"):
        images.read(tmp_path / "a.jpg")


def test_only_the_first_image_of_an_animation_is_read(tmp_path):
    """GIF frames after the first do not matter."""
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (images.read(path) == (255, 0, 0)).all()


@pytest.mark.parametrize("samples", [np.zeros((40, 40), np.float32), np.zeros((40, 40), np.int32)], ids=["F", "I"])
def test_pixels_without_a_range_are_refused_by_name(tmp_path, samples):
    """Floats and 32-bit integers have no defined white."""
    with pytest.raises(images.ImageError, match="range is not defined"):
        images.read(saved(tmp_path / "a.tif", samples))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am a text", "not an image in a supported format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in a supported format"),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 40, "broken|not an image"),
        (png_header(100_000, 100_000), "larger than 50,000,000 pixels"),
        (png_header(9_000, 9_000), "larger than 50,000,000 pixels"),
        (png_header(64, 64), "broken or cut off"),
    ],
    ids=["empty", "text", "PostScript", "damaged", "bomb", "too many pixels", "cut off inside"],
)
def test_bad_files_are_refused_with_the_reason(tmp_path, content, reason):
    """Every way in which a file is no image that can be read."""
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(images.ImageError, match=reason):
        images.read(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "JPEG2000", "BMP", "HEIF"])
def test_truncated_files_are_refused(tmp_path, kind):
    """Half a file is no image, in any format."""
    images._readable_formats()  # HEIF's writer too
    buffer = io.BytesIO()
    Image.fromarray(FACE).save(buffer, kind)
    (tmp_path / "a").write_bytes(buffer.getvalue()[: buffer.tell() // 2])
    with pytest.raises(images.ImageError):
        images.read(tmp_path / "a")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "JPEG2000", "BMP", "PPM", "HEIF"])
def test_damaged_files_raise_nothing_but_image_error(tmp_path, kind):
    """Random bytes overwritten: read or refused, never another exception."""
    images._readable_formats()  # HEIF's writer too
    buffer = io.BytesIO()
    Image.fromarray(FACE).save(buffer, kind)
    rng = np.random.default_rng(2)
    for _ in range(40):
        content = np.frombuffer(buffer.getvalue(), np.uint8).copy()
        content[rng.integers(0, min(len(content), 400), 6)] = rng.integers(0, 256, 6)
        (tmp_path / "a").write_bytes(content.tobytes())
        try:
            assert images.read(tmp_path / "a").shape[-1] == 3
        except images.ImageError as error:
            assert str(error)


def test_other_than_regular_files_are_refused_without_opening_them(tmp_path):
    """A pipe would block forever, a device never end."""
    os.mkfifo(tmp_path / "pipe")
    for path, reason in ((tmp_path / "pipe", "regular file"), ("/dev/zero", "regular file"), (tmp_path, "folder")):
        with pytest.raises(images.ImageError, match=reason):
            images.read(path)
    for path in (tmp_path / "absent.png", "a\0b.png"):
        with pytest.raises(images.ImageError, match="cannot be opened"):
            images.read(path)


def test_huge_files_are_refused_before_they_are_read(tmp_path):
    """A sparse file of a gigabyte."""
    with open(tmp_path / "a.webp", "wb") as stream:
        stream.truncate(2**30)
    with pytest.raises(images.ImageError, match="bytes"):
        images.read(tmp_path / "a.webp")
