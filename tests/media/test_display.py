"""Frames as a player shows them: all eight orientations, square pixels, colours as they are coded."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame as DecodedFrame

from fgnet_jax.media import display, video
from tests.media import numbered

CORNERS = np.kron(np.array([[250, 170], [90, 10]], np.uint8), np.ones((32, 48), np.uint8))
"""Lightest at the upper left, then the upper right, the lower left, the lower right: 96x64 pixels."""


def write(path: Path, image: np.ndarray, codec: str = "libx264", **options) -> Path:
    """Encode an image (height, width), or RGB, five times.

    Args:
      path: The file.
      image: uint8.
      codec: Its encoder.
      **options: Of the encoder; `matrix`, a display matrix, and `aspect`, that of the pixels.
    """
    matrix, aspect = options.pop("matrix", None), options.pop("aspect", None)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = options.pop("pix_fmt", "yuv420p")
        for name, value in options.items():
            setattr(stream.codec_context, name, value)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, -1)
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return path


def first(path: Path) -> tuple[np.ndarray, dict]:
    """Return the first frame's image, and what is known of the video."""
    frame = next(video.read(path))
    assert frame.image is not None and frame.facts is not None
    return frame.image, dict(frame.facts)


def corners(image: np.ndarray) -> list[list[int]]:
    """Return the brightness in the middle of each quarter."""
    height, width = image.shape[:2]
    return [[int(image[y, x, 1]) for x in (width // 4, 3 * width // 4)] for y in (height // 4, 3 * height // 4)]


MATRICES = {  # a, b, c, d: a stored point (x, y) is shown at (a x + c y, b x + d y); then what shows the corners so
    "upright": ((1, 0, 0, 1), [[250, 170], [90, 10]]),
    "mirrored, left for right": ((-1, 0, 0, 1), [[170, 250], [10, 90]]),
    "mirrored, top for bottom": ((1, 0, 0, -1), [[90, 10], [250, 170]]),
    "turned by 180 degrees": ((-1, 0, 0, -1), [[10, 90], [170, 250]]),
    "turned by 90 degrees clockwise": ((0, 1, -1, 0), [[90, 250], [10, 170]]),
    "turned by 90 degrees counterclockwise": ((0, -1, 1, 0), [[170, 10], [250, 90]]),
    "turned by 90 degrees clockwise and mirrored, left for right": ((0, 1, 1, 0), [[250, 90], [170, 10]]),
    "turned by 90 degrees counterclockwise and mirrored, left for right": ((0, -1, -1, 0), [[10, 170], [90, 250]]),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_the_whole_display_matrix_counts(tmp_path, name, suffix):
    """In each of the eight orientations, also where a video is mirrored."""
    (a, b, c, d), expected = MATRICES[name]
    one = 1 << 16
    matrix = [a * one, b * one, 0, c * one, d * one, 0, 96 * one, 64 * one, 1 << 30]
    image, facts = first(write(tmp_path / f"video{suffix}", CORNERS, matrix=matrix))
    assert image.shape == ((96, 64, 3) if a == 0 else (64, 96, 3)) and image.flags.c_contiguous
    np.testing.assert_allclose(corners(image), expected, atol=6)
    assert facts["orientation"] == name and facts["size"] == list(image.shape[1::-1])


def test_a_mirrored_video_of_the_issue(tmp_path):
    """A matrix -1 0 0 / 0 1 0 / 512 0 1 in the track's header, written over that of a plain file."""
    path = write(tmp_path / "video.mp4", CORNERS)
    content = path.read_bytes()
    plain = b"".join(value.to_bytes(4, "big") for value in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    mirrored = (-(1 << 16)).to_bytes(4, "big", signed=True) + plain[4:24] + (512 << 16).to_bytes(4, "big") + plain[28:]
    header = content.index(b"tkhd")
    path.write_bytes(content[:header] + content[header:].replace(plain, mirrored, 1))
    np.testing.assert_allclose(corners(first(path)[0]), [[170, 250], [10, 90]], atol=6)


@pytest.mark.parametrize("angle", range(4))
def test_side_data_that_pyav_does_not_know_leave_the_angle(angle):
    """A newer FFmpeg has kinds of it that an older PyAV has no name for."""

    class Frame:
        rotation = 90 * angle

        @property
        def side_data(self):
            raise ValueError("33 is not a valid Type")

    turned = display.orientation(Frame()).applied(CORNERS[..., None])  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(turned, np.rot90(CORNERS[..., None], angle))


@pytest.mark.parametrize(
    ("codec", "suffix", "stored", "aspect", "size"),
    [
        ("mpeg2video", ".mpg", (720, 576), "64:45", (1024, 576)),  # PAL, 16:9
        ("mpeg2video", ".ts", (1440, 1080), "4:3", (1920, 1080)),  # HDV
        ("mpeg2video", ".mpg", (720, 480), "8:9", (720, 540)),  # NTSC, 4:3: lines are added, no column is lost
        ("dvvideo", ".dv", (720, 576), "64:45", (1024, 576)),
        ("dvvideo", ".avi", (720, 480), "32:27", (853, 480)),
        ("libx264", ".mp4", (720, 576), "64:45", (1024, 576)),
        ("mpeg4", ".mkv", (720, 576), "64:45", (1024, 576)),
        ("libx264", ".mp4", (720, 576), "1:1", (720, 576)),
    ],
)
def test_pixels_become_square(tmp_path, codec, suffix, stored, aspect, size):
    """A circle that is stored as an ellipse is a circle again."""
    y, x = np.mgrid[: stored[1], : stored[0]].astype(float) + 0.5
    (width, height), (left, top) = size, (size[0] / 2, size[1] / 2)
    circle = np.hypot(x * width / stored[0] - left, y * height / stored[1] - top) < 150
    pixels = {"dvvideo": "yuv411p" if stored[1] == 480 else "yuv420p"}.get(codec, "yuv420p")
    image, facts = first(
        write(
            tmp_path / f"video{suffix}",
            np.where(circle, 220, 30).astype(np.uint8),
            codec,
            aspect=Fraction(aspect.replace(":", "/")),
            pix_fmt=pixels,
        )
    )
    assert image.shape == (height, width, 3)
    assert facts["stored"] == list(stored) and facts["pixel_aspect"] == aspect and facts["size"] == list(size)
    bright = image[..., 1] > 125
    assert abs(int(bright.any(0).sum()) - 300) <= 2 and abs(int(bright.any(1).sum()) - 300) <= 2


def test_turned_frames_become_square_first(tmp_path):
    """The aspect belongs to the stored pixels."""
    matrix = [0, 1 << 16, 0, -(1 << 16), 0, 0, 64 << 16, 0, 1 << 30]
    image, facts = first(write(tmp_path / "video.mp4", CORNERS, matrix=matrix, aspect=Fraction(4, 3)))
    assert image.shape == (128, 64, 3) and facts["stored"] == [96, 64] and facts["size"] == [64, 128]
    np.testing.assert_allclose(corners(image), [[90, 250], [10, 170]], atol=6)


def test_the_aspect_may_change_within_a_broadcast(tmp_path):
    """From 4:3 to 16:9, as at the begin of a film: each frame has its own, those held back by the decoder, too."""
    parts = []
    for name, aspect in (("a", Fraction(16, 15)), ("b", Fraction(64, 45))):
        path = tmp_path / f"{name}.mpg"
        write(path, np.zeros((576, 720), np.uint8), "mpeg2video", aspect=aspect, max_b_frames=2)
        parts.append(path.read_bytes())
    (tmp_path / "both.mpg").write_bytes(b"".join(parts))
    widths = [f.image.shape[1] for f in video.read(tmp_path / "both.mpg") if f.image is not None]
    assert widths == [768] * 5 + [1024] * 5


def test_an_absurd_aspect_is_refused():
    """A damaged header must not take all memory."""
    with pytest.raises(video.VideoError, match="frames of 7200000x576 are larger than 50,000,000 pixels"):
        display.square_size(720, 576, Fraction(10_000))


FOUR = np.array([[[200, 40, 40], [40, 200, 40]], [[40, 40, 200], [230, 230, 230]]], np.uint8)
COLOURS = FOUR.repeat(32, 0).repeat(48, 1)


@pytest.mark.parametrize("matrix", ["BT.709", "BT.601", None])
@pytest.mark.parametrize("is_full", [False, True])
def test_colours_are_those_that_were_coded(tmp_path, matrix, is_full):
    """By the matrix and range that the video declares; if none, BT.601 of limited range, as in FFmpeg."""
    numbers = {"BT.709": 1, "BT.601": 5}
    path = tmp_path / "video.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv444p"
        if matrix:
            stream.codec_context.colorspace, stream.codec_context.color_range = numbers[matrix], 2 if is_full else 1
        frame = av.VideoFrame.from_ndarray(COLOURS, format="rgb24").reformat(
            format="yuv444p",
            dst_colorspace=numbers.get(matrix, 5),
            dst_color_range=2 if is_full and matrix else 1,
        )
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    image, facts = first(path)
    for y, x in ((16, 24), (16, 72), (48, 24), (48, 72)):
        np.testing.assert_allclose(image[y, x].astype(int), COLOURS[y, x], atol=4)
    expected = "BT.601, as none is declared, limited range"
    if matrix:
        expected = f"{matrix}, {'full' if is_full else 'limited'} range"
    assert facts["colour"] == expected and "tone_mapped" not in facts


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv422p10le", "yuv420p12le", "gray10le", "gray12le"])
def test_ten_and_twelve_bits_are_as_bright_as_eight(tmp_path, pixels):
    """A light of 8 bits has the same share of the range."""
    path = write(tmp_path / "video.mkv", CORNERS, "ffv1", pix_fmt=pixels)
    np.testing.assert_allclose(corners(first(path)[0]), [[250, 170], [90, 10]], atol=3)


def planes(signal: np.ndarray) -> DecodedFrame:
    """Return a grey frame with 10 bits of limited range, as video of a high dynamic range has.

    Args:
      signal: (width,) in [0, 1], the same in every row.
    """
    frame = av.VideoFrame(len(signal), 32, "yuv420p10le")
    for plane, values in zip(frame.planes, (64 + 876 * signal, np.full(1, 512), np.full(1, 512)), strict=True):
        rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        rows[:, : plane.width] = np.rint(values)
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_primaries, frame.color_range = 9, 9, 1
    return frame


@pytest.mark.parametrize(("curve", "grey", "white"), [(16, 0.379, 0.581), (18, 0.38, 0.75)])
def test_a_high_dynamic_range_is_mapped_to_the_usual_one(tmp_path, curve, grey, white):
    """PQ and HLG: grey of 18 % and white of BT.2408 are where they are in usual video, and brighter is not lost."""
    signal = np.repeat(np.array([0.0, grey, white, white + 0.1, 1.0]), 32)
    path = tmp_path / "video.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 32, len(signal), "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, curve, 1
        frame = planes(signal)
        frame.color_trc = curve
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    image, facts = first(path)
    black, middle, paper, light, lightest = image[16, 16::32].astype(int)
    assert (black == 0).all() and (lightest >= 254).all()
    assert 90 < middle[1] < 125 and 210 < paper[1] < 235 and paper[1] + 8 < light[1] < 254
    assert np.ptp(image.astype(int), axis=-1).max() <= 2, "grey stays grey"
    name = {16: "PQ", 18: "HLG"}[curve]
    assert facts["tone_mapped"] == f"{name} (BT.2100) to the standard range, by BT.2390"


def test_facts_are_those_of_the_file(tmp_path):
    """In values of JSON."""
    numbered.write(tmp_path / "video.mp4", "libx264", count=3)
    assert first(tmp_path / "video.mp4")[1] == {
        "stored": [192, 96],
        "pixel_aspect": "1:1",
        "orientation": "upright",
        "size": [192, 96],
        "colour": "BT.601, as none is declared, limited range",
        "interlaced": False,
        "container_start_seconds": 0.0,
        "first_frame_seconds": 0.0,
        "times": "container",
        "discontinuities": 0,
    }


@pytest.mark.parametrize(("pix_fmt", "deep"), [("gray16le", True), ("gbrp16le", True), ("gray12le", False)])
@pytest.mark.parametrize("bits", [12, 16])
def test_fewer_bits_in_16_are_not_dark_without_a_word(tmp_path, pix_fmt, deep, bits):
    """Video declares no range of its samples, and the frames to come are not known: it is read as 16 bits, and says so.

    Other formats have the range of their bits.
    """
    path = tmp_path / "video.mkv"
    if deep:
        write_deep(path, CORNERS.astype(np.uint16) << (bits - 8), pix_fmt)
    else:
        write(path, CORNERS, "ffv1", pix_fmt=pix_fmt)
    image, facts = first(path)
    is_dark = deep and bits == 12
    np.testing.assert_allclose(corners(image), [[15, 10], [5, 0]] if is_dark else [[250, 170], [90, 10]], atol=2)
    assert ("note" in facts) == is_dark
    assert not is_dark or "10, 12 or 14 bits in 16, but taken for 16" in facts["note"]


def write_deep(path: Path, samples: np.ndarray, pix_fmt: str) -> None:
    """Encode samples of 16 bits (height, width), of all colours."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = samples.shape
        stream.pix_fmt = pix_fmt
        array = samples if pix_fmt.startswith("gray") else np.repeat(samples[..., None], 3, -1)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format=pix_fmt)))
        container.mux(stream.encode())
