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
    samples[0, 0] = 0xFFFF
    path = saved(tmp_path / "a.tif", samples, tiffinfo={262: 0})
    assert (images.read(path)[1:] == 255 - 0x10).all() and (images.read(path)[0, 0] == 0).all()


def test_cmyk_jpeg_has_the_right_colours(tmp_path):
    """Adobe's inverted CMYK: red stays red."""
    red = Image.new("RGB", (40, 40), (220, 30, 30))
    image = images.read(saved(tmp_path / "a.jpg", red.convert("CMYK"), quality=95))
    assert np.abs(image.astype(int) - (220, 30, 30)).max() <= 6


def stored(upright, orientation):
    """Return an image as it is stored in one of EXIF's eight orientations, and the EXIF data."""
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 1, 7: 3, 8: 3}  # quarter turns, counter-clockwise
    turned = np.rot90(upright, turns[orientation])
    if orientation in (2, 4):
        turned = turned[:, ::-1]
    if orientation in (5, 7):
        turned = turned[::-1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return np.ascontiguousarray(turned), exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_exif_orientation_is_undone(tmp_path, name, orientation):
    """An image stored in any of the eight orientations is read upright."""
    upright = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    image, exif = stored(upright, orientation)
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path / name, image, exif=exif, **options)
    np.testing.assert_array_equal(images.read(path), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.avif"])
def test_orientation_is_undone_in_lossy_formats(tmp_path, name, orientation):
    """AVIF stores it as a box of its own."""
    light = np.linspace(0, 250, 40 * 60).reshape(40, 60).astype(np.uint8)
    upright = np.stack([light, light[::-1], light[:, ::-1]], -1)
    image, exif = stored(upright, orientation)
    read = images.read(saved(tmp_path / name, image, exif=exif, quality=95))
    assert read.shape == upright.shape and np.abs(read.astype(int) - upright).mean() < 4


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


def twelve_bits(colour=False):
    """Return a picture of a camera with 12 bits: 0 to 4095, and what is to be read of it."""
    light = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    samples = np.stack([light, light[::-1], light.T], -1) if colour else light
    return samples, (samples >> 4).astype(np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2"])
def test_twelve_bits_in_sixteen_are_read_as_such(tmp_path, name):
    """Not as a black image; the facts say by what the range was found."""
    samples, expected = twelve_bits()
    loaded = images.load(saved(tmp_path / name, samples))
    np.testing.assert_array_equal(loaded.pixels, expected[..., None].repeat(3, -1))
    assert loaded.facts == {
        "sample_bits": 12,
        "sample_bits_from": "its brightest sample",
        "brightest_sample": 4095,
        "note": "12 bits in 16, judging by its brightest sample: the file does not say",
    }


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_twelve_bits_in_sixteen_in_colour(tmp_path, name):
    """Of which Pillow keeps the high bytes alone."""
    cv2 = pytest.importorskip("cv2")
    samples, expected = twelve_bits(colour=True)
    assert cv2.imwrite(str(tmp_path / name), samples[..., ::-1])
    loaded = images.load(tmp_path / name)
    np.testing.assert_array_equal(loaded.pixels, expected)
    assert loaded.facts is not None and loaded.facts["sample_bits"] == 12


@pytest.mark.parametrize(("bits", "brightest"), [(8, 255), (10, 700), (12, 3000), (14, 9000), (16, 17000)])
def test_the_range_is_the_smallest_usual_one(tmp_path, bits, brightest):
    """Cameras have 8, 10, 12, 14 or 16 bits."""
    samples = np.linspace(0, brightest, 40 * 40).reshape(40, 40).astype(np.uint16)
    image = images.read(saved(tmp_path / "a.png", samples))
    np.testing.assert_array_equal(image[..., 0], samples >> (bits - 8))


def test_a_declared_range_counts(tmp_path):
    """A dark image of 12 bits, or of 16, is no bright one of 10: TIFF's MaxSampleValue, PNG's sBIT."""
    dark = np.full((40, 40), 800, np.uint16)
    for value, expected in ((4095, 800 >> 4), (65535, 800 >> 8)):
        loaded = images.load(saved(tmp_path / "a.tif", dark, tiffinfo={281: value}))
        assert (loaded.pixels == expected).all() and "note" not in (loaded.facts or {})
    content = saved(tmp_path / "a.png", dark).read_bytes()
    for bits, expected in ((12, 800 >> 4), (16, 800 >> 8)):
        chunk = b"sBIT" + bytes([bits])
        chunk = struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk))
        (tmp_path / "a.png").write_bytes(content[:33] + chunk + content[33:])
        assert (images.read(tmp_path / "a.png") == expected).all()


def test_black_has_no_range(tmp_path):
    """Nothing is said of an image that is black in any."""
    loaded = images.load(saved(tmp_path / "a.png", np.zeros((40, 40), np.uint16)))
    assert not loaded.pixels.any() and loaded.facts is None


def test_dark_colours_whose_range_cannot_be_found_are_refused(tmp_path):
    """Such as JPEG 2000, of which Pillow decodes the high bytes."""
    cv2 = pytest.importorskip("cv2")
    assert cv2.imwrite(str(tmp_path / "a.jp2"), twelve_bits(colour=True)[0])
    with pytest.raises(images.ImageError, match="probably fewer bits in 16"):
        images.read(tmp_path / "a.jp2")


def test_planes_of_sixteen_bits_are_refused(tmp_path):
    """Pillow makes noise of them: it takes each byte for a sample."""
    tifffile = pytest.importorskip("tifffile")
    planes = np.random.default_rng(0).integers(0, 65536, (3, 40, 40), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    with pytest.raises(images.ImageError, match="16-bit samples in separate planes"):
        images.read(tmp_path / "a.tif")


@pytest.mark.parametrize(("code", "name"), [(16, "PQ"), (18, "HLG")])
@pytest.mark.parametrize("suffix", ["avif", "heic", "png"])
def test_hdr_images_are_refused_by_name(tmp_path, suffix, code, name):
    """By the transfer function in their header; the same file without it is read."""
    images._readable_formats()  # HEIF's writer too
    path = saved(tmp_path / f"a.{suffix}", FACE)
    assert images.read(path).shape == FACE.shape
    if suffix == "heic":
        names = ("transfer_characteristics", "transfer_characteristic")  # of pillow-heif's versions
        saved(path, FACE, color_primaries=9, matrix_coefficients=9, **dict.fromkeys(names, code))
    elif suffix == "avif":
        content = path.read_bytes()
        place = content.index(b"colrnclx") + 10
        path.write_bytes(content[:place] + struct.pack(">H", code) + content[place + 2 :])
    else:
        chunk = b"cICP" + bytes([9, code, 0, 1])
        chunk = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        path.write_bytes(path.read_bytes()[:33] + chunk + path.read_bytes()[33:])
    with pytest.raises(images.ImageError, match=rf"an HDR image \({name}\)"):
        images.read(path)


def test_an_hdr_colour_profile_is_hdr(tmp_path):
    """ICC profiles of version 4.4 have the tag `cicp`."""
    tag = b"cicp" + bytes(4) + bytes([9, 16, 0, 1])
    profile = bytes(128) + struct.pack(">I4sII", 1, b"cicp", 144, len(tag)) + tag
    path = saved(tmp_path / "a.png", FACE, icc_profile=profile)
    with pytest.raises(images.ImageError, match=r"an HDR image \(PQ\)"):
        images.read(path)


def test_reasons_are_one_line(tmp_path):
    """Also of readers whose errors have several."""
    images._readable_formats()
    path = saved(tmp_path / "a.heic", FACE)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(images.ImageError) as error:
        images.read(path)
    assert "\n" not in str(error.value)


def test_pillow_images_are_taken_as_their_files_are():
    """Upright, over black, and refused where their range is not defined."""
    turned = Image.fromarray(FACE)
    turned.getexif()[0x0112] = 3
    np.testing.assert_array_equal(images.from_pillow(turned).pixels, FACE[::-1, ::-1])
    np.testing.assert_array_equal(
        images.from_pillow(Image.fromarray(twelve_bits()[0])).pixels[..., 0], twelve_bits()[1]
    )
    with pytest.raises(images.ImageError, match="range is not defined"):
        images.from_pillow(Image.new("F", (40, 40)))
