"""Videos whose frames show their number, and damage to such files."""

import random
from pathlib import Path

import av
import numpy as np

_BITS, _SIDE = 8, 24


def draw(number: int) -> np.ndarray:
    """Draw a frame: its number as eight black or white squares, below them a bar that moves."""
    image = np.random.default_rng(7).integers(90, 130, (12, _BITS * 3, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for bit in range(_BITS):
        image[8:32, bit * _SIDE + 2 : (bit + 1) * _SIDE - 2] = 250 if number >> bit & 1 else 5
    begin = number * 7 % 140
    image[56:88, begin : begin + 40] = 200
    return image


def read_number(image: np.ndarray) -> int | None:
    """Read the number in a frame; None where a square is grey."""
    means = [image[12:28, bit * _SIDE + 6 : (bit + 1) * _SIDE - 6].mean() for bit in range(_BITS)]
    if any(70 < mean < 190 for mean in means):
        return None
    return sum(1 << bit for bit, mean in enumerate(means) if mean > 128)


def write(path: Path, codec: str, count: int = 60, max_b_frames: int = 0) -> None:
    """Encode frames 1 to `count`, a key frame every twelve."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, _ = draw(1).shape
        stream.pix_fmt, stream.bit_rate = "yuvj420p" if codec == "mjpeg" else "yuv420p", 2_000_000
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 12, max_b_frames
        for number in range(1, count + 1):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(number), format="rgb24")))
        container.mux(stream.encode())


def damage(path: Path, seed: int) -> None:
    """Overwrite some bytes in the middle half of a file."""
    content, chance = bytearray(path.read_bytes()), random.Random(seed)
    begin = chance.randrange(len(content) // 4, 3 * len(content) // 4)
    block = chance.choice([8, 64, 700, 3000, 9000])
    content[begin : begin + block] = chance.choice([bytes(block), chance.randbytes(block)])
    path.write_bytes(content)
