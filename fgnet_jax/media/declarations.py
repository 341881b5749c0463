"""What image files declare of their samples, where Pillow does not say it: how many bits count, and which brightness.

Nothing is decoded here: chunks of PNG, boxes of AVIF and HEIF, tags of TIFF and markers of JPEG 2000 are looked up.
"""

import os
import struct
from collections.abc import Iterator

from PIL import Image

HDR = {16: "PQ", 18: "HLG"}
"""Transfer characteristics (ITU-T H.273) whose samples are no brightness of a screen."""

_HEAD_BYTES = 1 << 20  # of a file: what is looked up lies before the samples
_PNG_START = 8
_TIFF_BITS, _TIFF_MAXIMUM, _TIFF_MAXIMA = 258, 281, 341  # BitsPerSample, MaxSampleValue, SMaxSampleValue
_JPEG2000_SIZE = b"\xff\x4f\xff\x51"  # start of a codestream, and of the marker with its sizes
_JPEG2000_PRECISION = 42  # from there to the precision of the first component


def maximum(image: Image.Image, path: str | os.PathLike[str] | None) -> int | None:
    """Return the largest sample that a 16-bit image may have, by what its file declares; None where it does not.

    PNG declares it by sBIT, TIFF by BitsPerSample, MaxSampleValue or SMaxSampleValue. Pillow enlarges the samples of
    JPEG 2000 and PGM to 16 bits itself.

    Args:
      image: The opened image.
      path: Its file; None for an image from memory.
    """
    if image.format == "PPM":
        return 65535
    if image.format == "TIFF":
        return _tiff_maximum(image)
    if path is None:
        return None
    if image.format == "PNG":
        bits = dict(_png_chunks(_head(path))).get(b"sBIT")
        return 2 ** max(bits) - 1 if bits and 8 <= max(bits) <= 16 else None
    if image.format == "JPEG2000":
        precision = jpeg2000_precision(path)
        return 65535 if precision and precision < 16 else None
    return None


def transfer(image: Image.Image, path: str | os.PathLike[str] | None) -> str | None:
    """Return the transfer function of an HDR image, "PQ" or "HLG"; None for any other image.

    Args:
      image: The opened image.
      path: Its file; None for an image from memory.
    """
    known = image.info.get("nclx_profile", {}).get("transfer_characteristics")  # of pillow-heif
    if known is None and path is not None and image.format == "AVIF":
        known = _after(_head(path), b"colrnclx", 2, 2)
    if known is None and path is not None and image.format == "PNG":
        known = (dict(_png_chunks(_head(path))).get(b"cICP") or (0, 0))[1]
    return HDR.get(known or 0) or HDR.get(_profile_transfer(image.info.get("icc_profile") or b"") or 0)


def jpeg2000_precision(path: str | os.PathLike[str]) -> int | None:
    """Return the bits of a JPEG 2000 file's first component; None where they are not found."""
    value = _after(_head(path), _JPEG2000_SIZE, _JPEG2000_PRECISION - len(_JPEG2000_SIZE), 1)
    return None if value is None else (value & 0x7F) + 1


def _tiff_maximum(image: Image.Image) -> int | None:
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_TIFF_BITS, (16,))[0]
    if bits != 16:
        return 2**bits - 1
    for tag in (_TIFF_MAXIMUM, _TIFF_MAXIMA):
        values = tags.get(tag)
        if values is not None:
            return int(max(values if isinstance(values, tuple) else (values,)))
    return None


def _profile_transfer(profile: bytes) -> int | None:
    """Return what the tag `cicp` of an ICC profile says."""
    count = struct.unpack(">I", profile[128:132])[0] if len(profile) >= 132 else 0
    for place in range(132, min(132 + 12 * count, len(profile) - 12), 12):
        name, offset, size = struct.unpack(">4sII", profile[place : place + 12])
        if name == b"cicp" and size >= 12 and offset + 12 <= len(profile):
            return profile[offset + 9]
    return None


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of the chunks before a PNG's samples."""
    place = _PNG_START
    while place + 8 <= len(content):
        size, name = struct.unpack(">I4s", content[place : place + 8])
        if name == b"IDAT":
            return
        yield name, content[place + 8 : place + 8 + size]
        place += size + 12


def _after(content: bytes, mark: bytes, offset: int, size: int) -> int | None:
    """Return the big-endian number that lies `offset` bytes behind a mark; None where it is not there."""
    place = content.find(mark)
    value = content[place + len(mark) + offset :][:size]
    return None if place < 0 or len(value) < size else int.from_bytes(value, "big")


def _head(path: str | os.PathLike[str]) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(_HEAD_BYTES)
