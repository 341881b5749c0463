"""Reads images from untrusted files: any file in, 8-bit RGB out, or the reason why not.

Only the formats listed here are tried (Pillow's readers for PostScript and the like start other programs), only regular
files are opened (a pipe or a device would hang or never end), and the size that the file's header claims is checked
before a pixel is decoded, so that a small file cannot fill the memory.

The result is what an image viewer shows, with two exceptions: transparency is composited over black, and embedded
colour profiles are ignored, as they were when the corpora's images were read for training. HDR images (PQ, HLG) are
refused. Of files with several images the first is read here; `animations` reads them all.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from fgnet_jax.media import declarations, sample_range

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""Pillow's names of the formats that are read; HEIF (phones' HEIC) needs pillow-heif."""

SUFFIXES = tuple(
    (
        ".jpg .jpeg .jpe .jfif .png .apng .webp .tif .tiff .bmp .gif .pbm .pgm .ppm .pnm .jp2 .j2k .avif "
        ".heic .heif .hif"
    ).split()
)
"""File name suffixes by which images are found in a folder; the content decides what a file is."""

MAX_PIXELS = 50_000_000
"""Images of more pixels are refused before they are decoded: above a phone's 48 megapixels, 200 MB as RGBA."""

MAX_BYTES = 256 * 2**20
"""Files of more bytes are refused before they are opened: some readers take the whole file into memory."""

_ORIENTATION_TAG = 0x0112
_UPRIGHT: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_PLAIN_MODES = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
_ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_PLANES = 258, 262, 284
_TIFF_WHITE_IS_ZERO, _TIFF_SEPARATE = 0, 2
_DEEP = (";16", ";16B", ";16L", ";16N")
_LOW_BYTES = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B" if sys.byteorder == "little" else "RGB;16L",
}
"""Of Pillow's types of 16-bit colours, of which it keeps the high bytes: the type by which it keeps the low ones."""

_DARK = 64  # 16-bit colours with all high bytes below this have perhaps 14 bits or fewer


class ImageError(ValueError):
    """An image that cannot be used; the message says why, without the file's name."""


class UnknownFormatError(ImageError):
    """A file that is no image in a supported format."""


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image in memory.

    Attributes:
      pixels: uint8 (height, width, 3) RGB, upright.
      facts: What was found out about its file, in values of JSON; None where there is nothing to say.
    """

    pixels: np.ndarray
    facts: Mapping[str, Any] | None = None


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an image file as 8-bit RGB, upright: `load` without the facts."""
    return load(path).pixels


def load(path: str | os.PathLike[str]) -> LoadedImage:
    """Load an image file as 8-bit RGB, upright.

    Greyscale, palette and CMYK images become RGB; of 16-bit samples the 8 highest bits that count are kept (see
    `sample_range`); transparency is composited over black; the rotation or mirroring in the EXIF data is applied.

    Args:
      path: A file in one of `FORMATS`.

    Raises:
      ImageError: The file is missing, empty, not a regular file, not an image in one of `FORMATS`, damaged, cut off, of
        a pixel type without a defined range (floats, 32-bit integers, HDR), or larger than `MAX_BYTES` or `MAX_PIXELS`.
    """
    with opened(path) as image:
        return decode(image, path)


def from_pillow(image: Image.Image) -> LoadedImage:
    """Return a Pillow image as `load` would return its file.

    Raises:
      ImageError: It is too large, its file is damaged, or it has pixels of a type without a defined range.
    """
    with reasons():
        check_pixels(*image.size)
        return decode(image)


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[ImageFile.ImageFile]:
    """Open an image file for the block, without decoding it; whatever is wrong with it in the block is an ImageError.

    Raises:
      ImageError: As for `load`.
    """
    _check_file(path)
    with reasons():
        try:
            image = Image.open(path, formats=_readable_formats())
        except UnidentifiedImageError as error:
            raise _unknown(path) from error
        with image:
            check_pixels(*image.size)
            yield image


@contextlib.contextmanager
def reasons() -> Iterator[None]:
    """Turn what Pillow raises into an ImageError that says why."""
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"larger than {MAX_PIXELS:,} pixels; shrink it first") from error
    except Exception as error:  # Pillow's readers raise nearly anything on a broken file; each costs one image only
        text = " ".join(str(error).split())  # one line
        raise ImageError(f"broken or cut off: {type(error).__name__}: {text}") from error


def decode(image: Image.Image, path: str | os.PathLike[str] | None = None, brightest: int | None = None) -> LoadedImage:
    """Decode an opened image, of several that which it has been sought to.

    Args:
      image: An image that `opened` returned, or one from memory.
      path: Its file; None for an image from memory.
      brightest: The largest sample of all images of the file, for a common range; None for this image's own.

    Raises:
      ImageError: Pixels of a type without a defined range.
    """
    if transfer := declarations.transfer(image, path):
        raise ImageError(
            f"an HDR image ({transfer}): its samples are not the brightness of a screen; convert it to 8-bit SDR first"
        )
    samples_type = _samples_type(image, path)
    image.load()
    if image.mode.startswith("I"):
        rgb, facts = _grey(image, path, brightest)
    else:
        rgb, facts = _rgb(image), None
        if samples_type.endswith(_DEEP) and _is_dark(rgb) and (brightest or 0) < _DARK << 8:
            rgb, facts = _deep_colour(image, rgb, path, samples_type, brightest)
    return LoadedImage(np.asarray(_upright(image, rgb)), facts)


def _check_file(path: str | os.PathLike[str]) -> None:
    """Refuse what is not a regular file of a sensible length, without opening it."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise ImageError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("a folder, not an image")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not a regular file")
    if status.st_size == 0:
        raise ImageError("the file is empty")
    if status.st_size > MAX_BYTES:
        raise ImageError(f"{status.st_size:,} bytes: more than the {MAX_BYTES:,} that are read")
    if not os.access(path, os.R_OK):
        raise ImageError("cannot be opened: Permission denied")


@functools.cache
def _readable_formats() -> tuple[str, ...]:
    """Return `FORMATS` without those that this build of Pillow lacks (it raises KeyError for them)."""
    Image.init()
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _unknown(path: str | os.PathLike[str]) -> ImageError:
    """Return the error that says why no reader accepts a file."""
    with open(path, "rb") as stream:
        start = stream.read(12)
    if start[4:8] == b"ftyp" and start[8:] in _HEIC_BRANDS and "HEIF" not in _readable_formats():
        return ImageError("a HEIC image; reading it needs pillow-heif: pip install 'fgnet_jax[heic]'")
    return UnknownFormatError(f"not an image in a supported format ({', '.join(_readable_formats())})")


def check_pixels(width: int, height: int) -> None:
    """Refuse a header that claims more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}x{height}: larger than {MAX_PIXELS:,} pixels; shrink it first")


def _rgb(image: Image.Image) -> Image.Image:
    """Convert an image of 8-bit samples to mode RGB, before any rotation."""
    if image.mode in _ALPHA_MODES or (image.mode in _PLAIN_MODES and image.has_transparency_data):
        return _over_black(image)
    if image.mode in _PLAIN_MODES:
        return image.convert("RGB")
    raise ImageError(f"pixels of type {image.mode} are not read: their range is not defined")


def _grey(
    image: Image.Image, path: str | os.PathLike[str] | None, brightest: int | None
) -> tuple[Image.Image, Mapping[str, Any] | None]:
    """Convert 16-bit greyscale to mode RGB, with the facts of its range."""
    samples = grey_samples(image)
    found = sample_range.find(max(int(samples.max()), brightest or 0), declarations.maximum(image, path))
    grey = sample_range.eight_bits(samples, found)
    if (
        getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO
    ):  # Pillow inverts these in 8 bits only
        grey = 255 - grey
    return Image.fromarray(grey).convert("RGB"), found.facts


def grey_samples(image: Image.Image) -> np.ndarray:
    """Return the samples of a loaded 16-bit greyscale image, 0 to 65535.

    Raises:
      ImageError: They are of another type.
    """
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # these two use I for 16 bits, others for anything
        raise ImageError("32-bit or signed integers are not read: their range is not defined")
    if "transparency" in image.info:
        raise ImageError("a transparent grey level in a 16-bit image is not read")
    return np.asarray(image)


def _samples_type(image: Image.Image, path: str | os.PathLike[str] | None) -> str:
    """Return the type of an image's samples as Pillow names it, such as `RGB;16B`, before they are decoded.

    Raises:
      ImageError: Pillow would decode them wrongly.
    """
    tile = next(iter(getattr(image, "tile", ())), None)
    if tile is None:
        return ""
    tags = getattr(image, "tag_v2", {})
    if tile.codec_name == "raw" and tags.get(_TIFF_PLANES) == _TIFF_SEPARATE and max(tags.get(_TIFF_BITS, (8,))) > 8:
        raise ImageError("16-bit samples in separate planes are not read; store them pixel by pixel")
    if tile.codec_name == "jpeg2k":
        precision = None if path is None else declarations.jpeg2000_precision(path)
        return "RGB;16" if precision == 16 else ""
    args = tile.args if isinstance(tile.args, tuple) else (tile.args,)
    return args[0] if args and isinstance(args[0], str) else ""


def brightest_sample(image: Image.Image, path: str | os.PathLike[str]) -> int | None:
    """Load an image, and return its largest sample, if it has 16 bits and its file does not declare their range.

    Raises:
      ImageError: Pixels of a type without a defined range.
    """
    samples_type = _samples_type(image, path)
    if declarations.maximum(image, path) is not None:
        return None
    if image.mode.startswith("I;16"):
        image.load()
        return int(grey_samples(image).max())
    if not samples_type.endswith(_DEEP):
        return None
    image.load()
    rgb = _rgb(image)
    return int(_deep_samples(image, rgb, path, samples_type).max()) if _is_dark(rgb) else 65535


def _deep_colour(
    image: Image.Image,
    rgb: Image.Image,
    path: str | os.PathLike[str] | None,
    samples_type: str,
    brightest: int | None,
) -> tuple[Image.Image, Mapping[str, Any] | None]:
    """Find the range of 16-bit colours of which Pillow kept the high bytes `rgb`, and convert them again."""
    declared = declarations.maximum(image, path)
    if declared == 65535:
        return rgb, None
    samples = _deep_samples(image, rgb, path, samples_type)
    found = sample_range.find(max(int(samples.max()), brightest or 0), declared)
    return Image.fromarray(sample_range.eight_bits(samples, found)), found.facts


def _deep_samples(
    image: Image.Image, rgb: Image.Image, path: str | os.PathLike[str] | None, samples_type: str
) -> np.ndarray:
    """Return the samples of 16-bit colours of which Pillow kept the high bytes `rgb`: uint16 (height, width, 3)."""
    if image.mode != "RGB" or path is None or samples_type not in _LOW_BYTES:
        raise ImageError(
            "its colours of 16 bits are all below a quarter of the range: probably fewer bits in 16, and how many "
            "cannot be found out here; store it in 8 bits"
        )
    with opened(path) as again:
        again.seek(image.tell())
        again.tile = [_with_type(tile, _LOW_BYTES[samples_type]) for tile in again.tile]
        again.load()
        return np.asarray(rgb).astype(np.uint16) << 8 | np.asarray(again)


def _with_type(tile: Any, samples_type: str) -> Any:  # noqa: ANN401 - Pillow's own type is private
    """Return one of Pillow's tiles with its samples taken for another type."""
    return tile._replace(args=(samples_type, *tile.args[1:]) if isinstance(tile.args, tuple) else samples_type)


def _is_dark(rgb: Image.Image) -> bool:
    """Tell whether the high bytes of 16-bit colours are all those of fewer bits in 16."""
    return max(high for _, high in _extrema(rgb)) < _DARK


def _extrema(rgb: Image.Image) -> tuple[tuple[int, int], ...]:
    """Return the smallest and the largest sample of each channel."""
    return rgb.getextrema()  # pyright: ignore[reportReturnType]  # pairs, of an image with three channels


def _over_black(image: Image.Image) -> Image.Image:
    """Composite an image with any kind of transparency over black."""
    rgba = image.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert("RGB")


def _upright(image: Image.Image, rgb: Image.Image) -> Image.Image:
    """Turn `rgb` as the EXIF data of the loaded `image` say (Pillow has turned TIFF already, and dropped the tag)."""
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    return rgb if turn is None else rgb.transpose(turn)
