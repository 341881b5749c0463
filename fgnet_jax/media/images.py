"""Reads images from untrusted files: any file in, 8-bit RGB out, or the reason why not.

Only the formats listed here are tried (Pillow's readers for PostScript and the like start other programs), only regular
files are opened (a pipe or a device would hang or never end), and the size that the file's header claims is checked
before a pixel is decoded, so that a small file cannot fill the memory.

The result is what an image viewer shows, with two exceptions: transparency is composited over black, and embedded
colour profiles are ignored, as they were when the corpora's images were read for training. Of files with several
images (animations, multi-page TIFF), the first is read.
"""

import functools
import importlib.util
import os
import stat

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""Pillow's names of the formats that are read; HEIF (phones' HEIC) needs pillow-heif."""

SUFFIXES = tuple(
    ".jpg .jpeg .jpe .jfif .png .webp .tif .tiff .bmp .gif .pbm .pgm .ppm .pnm .jp2 .j2k .avif .heic .heif .hif".split()
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
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_WHITE_IS_ZERO = 258, 262, 0


class ImageError(ValueError):
    """An image that cannot be used; the message says why, without the file's name."""


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an image file as 8-bit RGB, upright.

    Greyscale, palette and CMYK images become RGB; 16-bit samples keep their high byte; transparency is composited over
    black; the rotation or mirroring in the EXIF data is applied.

    Args:
      path: A file in one of `FORMATS`.

    Returns:
      uint8 (height, width, 3).

    Raises:
      ImageError: The file is missing, empty, not a regular file, not an image in one of `FORMATS`, damaged, cut off, of
        a pixel type without a defined range (floats, 32-bit integers), or larger than `MAX_BYTES` or `MAX_PIXELS`.
    """
    _check_file(path)
    try:
        with Image.open(path, formats=_readable_formats()) as image:
            _check_pixels(*image.size)
            image.load()
            return np.asarray(_upright(image, _rgb(image)))
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(_unknown(path)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"larger than {MAX_PIXELS:,} pixels; shrink it first") from error
    except Exception as error:  # Pillow's readers raise nearly anything on a broken file; each costs one image only
        raise ImageError(f"broken or cut off: {type(error).__name__}: {error}") from error


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


def _unknown(path: str | os.PathLike[str]) -> str:
    """Return why no reader accepts a file."""
    with open(path, "rb") as stream:
        start = stream.read(12)
    if start[4:8] == b"ftyp" and start[8:] in _HEIC_BRANDS and "HEIF" not in _readable_formats():
        return "a HEIC image; reading it needs pillow-heif: pip install 'fgnet_jax[heic]'"
    return f"not an image in a supported format ({', '.join(_readable_formats())})"


def _check_pixels(width: int, height: int) -> None:
    """Refuse a header that claims more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}x{height}: larger than {MAX_PIXELS:,} pixels; shrink it first")


def _rgb(image: Image.Image) -> Image.Image:
    """Convert an image to mode RGB, before any rotation."""
    if image.mode.startswith("I"):
        return _eight_bits(image).convert("RGB")
    if image.mode in _ALPHA_MODES or (image.mode in _PLAIN_MODES and image.has_transparency_data):
        return _over_black(image)
    if image.mode in _PLAIN_MODES:
        return image.convert("RGB")
    raise ImageError(f"pixels of type {image.mode} are not read: their range is not defined")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Keep the high byte of 16-bit greyscale, as Pillow does for 16-bit colour."""
    bits = 16
    tags = getattr(image, "tag_v2", {})
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # these two use I for 16 bits, others for anything
        raise ImageError("32-bit or signed integers are not read: their range is not defined")
    if "transparency" in image.info:
        raise ImageError("a transparent grey level in a 16-bit image is not read")
    bits = tags.get(_TIFF_BITS, (bits,))[0]
    samples = np.asarray(image).astype(np.int32) >> (bits - 8)
    if tags.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO:  # Pillow inverts these in 8 bits, not in 16
        samples = 255 - samples
    return Image.fromarray(samples.astype(np.uint8))


def _over_black(image: Image.Image) -> Image.Image:
    """Composite an image with any kind of transparency over black."""
    rgba = image.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert("RGB")


def _upright(image: Image.Image, rgb: Image.Image) -> Image.Image:
    """Turn `rgb` as the EXIF data of the loaded `image` say (Pillow has turned TIFF already, and dropped the tag)."""
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    return rgb if turn is None else rgb.transpose(turn)
