"""Reading images that nobody vouches for: any file in, 8-bit RGB out, or a reason why not.

An image is untrusted input. Only the formats listed here are tried (Pillow's readers for PostScript and the like
start other programs), only regular files are opened (a pipe or a device would hang or never end), and the size that the
file's header claims is checked before a pixel is decoded, so that a small file cannot fill the memory.

What comes out is what a viewer shows, with two choices of our own: transparency lies over black, and embedded colour
profiles are ignored, as they were when the corpora's images were read for training. Of files with several images
(animations, multi-page TIFF) the first is read.
"""

import functools
import importlib.util
import os
import stat

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""Pillow's names of the formats that are read; HEIF, telephones' HEIC, where pillow-heif is installed."""

SUFFIXES = tuple(
    ".jpg .jpeg .jpe .jfif .png .webp .tif .tiff .bmp .gif .pbm .pgm .ppm .pnm .jp2 .j2k .avif .heic .heif .hif".split()
)
"""Names that images end with, by which they are picked out of a folder; the content decides what a file is."""

MAX_PIXELS = 50_000_000
"""Images of more pixels are refused before they are decoded: above a phone's 48 megapixels, 200 MB as RGBA."""

MAX_BYTES = 256 * 2**20
"""Files of more bytes are refused before they are opened: some readers take the whole file into memory."""

MIN_SIDE = 32
"""An aligned face with a shorter side, in pixels, is refused: enlarging it would invent the face."""

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
    """Reads an image file as 8-bit RGB, upright.

    Greyscale, palette and CMYK images become RGB; 16-bit samples keep their high byte; transparency is laid over
    black; the rotation or mirroring that EXIF asks for is done.

    Args:
      path: A file in one of `FORMATS`.

    Returns:
      uint8 (height, width, 3).

    Raises:
      ImageError: The file is absent, empty, no regular file, no image of those kinds, broken, cut off, of a pixel
        type without a defined range (floats, 32-bit integers), or larger than `MAX_BYTES` or `MAX_PIXELS`.
    """
    _check_file(path)
    try:
        with Image.open(path, formats=_formats()) as image:
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


def as_aligned(image: np.ndarray, size: int) -> np.ndarray:
    """Brings an aligned face to the network's size.

    Args:
      image: uint8 (height, width, 3), a face already aligned (FFHQ's recipe), hence square.
      size: The side wanted, in pixels.

    Returns:
      uint8 (size, size, 3); `image` itself where it has that size, else resampled (Lanczos, antialiased).

    Raises:
      ImageError: The image is not square, or smaller than `MIN_SIDE`.
    """
    height, width = image.shape[:2]
    if height != width:
        raise ImageError(f"{width}x{height} is not square, as an aligned face ({size}x{size}) is")
    if height < MIN_SIDE:
        raise ImageError(f"{width}x{height} is too small: an aligned face has {size}x{size}, at least {MIN_SIDE}")
    if height == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))


def _check_file(path: str | os.PathLike[str]) -> None:
    """Refuses what is not a regular file of a sensible length, without opening it."""
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
def _formats() -> tuple[str, ...]:
    """`FORMATS`, less those that this build of Pillow lacks (it raises KeyError for them)."""
    Image.init()
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _unknown(path: str | os.PathLike[str]) -> str:
    """Why a file that no reader takes is none."""
    with open(path, "rb") as stream:
        start = stream.read(12)
    if start[4:8] == b"ftyp" and start[8:] in _HEIC_BRANDS and "HEIF" not in _formats():
        return "a HEIC image, which is read where pillow-heif is: pip install 'fgnet_jax[heic]'"
    return f"not an image of a kind that is read here ({', '.join(_formats())})"


def _check_pixels(width: int, height: int) -> None:
    """Refuses a header that claims more pixels than we are ready to decode."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}x{height}: larger than {MAX_PIXELS:,} pixels; shrink it first")


def _rgb(image: Image.Image) -> Image.Image:
    """The same image in mode RGB, before any rotation."""
    if image.mode.startswith("I"):
        return _eight_bits(image).convert("RGB")
    if image.mode in _ALPHA_MODES or (image.mode in _PLAIN_MODES and image.has_transparency_data):
        return _over_black(image)
    if image.mode in _PLAIN_MODES:
        return image.convert("RGB")
    raise ImageError(f"pixels of type {image.mode} are not read: their range is not defined")


def _eight_bits(image: Image.Image) -> Image.Image:
    """The high byte of 16-bit grey, which is what Pillow itself keeps of 16-bit colour."""
    bits = 16
    tags = getattr(image, "tag_v2", {})
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # these two use I for 16 bits; others for anything
        raise ImageError("32-bit or signed integers are not read: their range is not defined")
    if "transparency" in image.info:
        raise ImageError("a transparent grey level in a 16-bit image is not read")
    bits = tags.get(_TIFF_BITS, (bits,))[0]
    samples = np.asarray(image).astype(np.int32) >> (bits - 8)
    if tags.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO:  # Pillow inverts these in 8 bits, not in 16
        samples = 255 - samples
    return Image.fromarray(samples.astype(np.uint8))


def _over_black(image: Image.Image) -> Image.Image:
    """Composites an image with any kind of transparency over black."""
    rgba = image.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert("RGB")


def _upright(image: Image.Image, rgb: Image.Image) -> Image.Image:
    """`rgb`, turned as the EXIF data of the loaded `image` asks (of TIFF, Pillow has dropped it: turned already)."""
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    return rgb if turn is None else rgb.transpose(turn)
