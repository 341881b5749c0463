"""Files of several images: each frame whole, with its own time; pages without; what is cut off says so."""

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.media import animations, frames, sources
from fgnet_jax.media.images import ImageError

COLOURS = (20, 60, 100, 140, 180)
DURATIONS = [100, 40, 250, 30, 400]  # milliseconds


def shades(size=(64, 48)):
    """Return images of one grey each."""
    return [Image.new("RGB", size, (shade, shade, shade)) for shade in COLOURS]


def write(path, kind, images=None, **options):
    """Write images into one file; returns its path."""
    first, *others = images or shades()
    first.save(path, kind, save_all=True, append_images=others, **options)
    return path


def read(path, **options):
    """Return the frames of a file."""
    return list(frames.read(sources.find([str(path)]), **options))


def means(results):
    """Return the shades of the frames that are intact."""
    return [round(float(frame.image.mean())) for frame in results if frame.image is not None]


def times(results):
    """Return the frames' times in seconds, NaN for none."""
    return np.array([frame.seconds for frame in results], float)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animations_are_videos_with_their_own_times(tmp_path, kind):
    """Each frame is read, at the time at which it is shown."""
    results = read(write(tmp_path / "a.img", kind, duration=DURATIONS))
    assert [frame.source.kind for frame in results] == ["animation"] * 5
    np.testing.assert_allclose(means(results), COLOURS, atol=2)
    assert [frame.number for frame in results] == [1, 2, 3, 4, 5] and results[0].total == 5
    np.testing.assert_allclose(times(results), [0, 0.1, 0.14, 0.39, 0.42])
    assert results[-1].facts == {"animation": kind, "times": "container"}


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_times_are_written_as_they_are(tmp_path, kind):
    """0.3 s, not 0.30000000000000004: sums of tenths of a second are not exact, those of milliseconds are."""
    for duration in (100, 0):
        assert [frame.seconds for frame in read(write(tmp_path / "a.img", kind, duration=duration))] == [
            0,
            0.1,
            0.2,
            0.3,
            0.4,
        ]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_frames_without_a_duration_are_shown_as_browsers_do(tmp_path, kind):
    """For a tenth of a second each; no two frames have the same time."""
    results = read(write(tmp_path / "a.img", kind, duration=0))
    np.testing.assert_allclose(times(results), [0, 0.1, 0.2, 0.3, 0.4])
    assert results[-1].facts is not None and results[-1].facts["times"].endswith("as browsers do: 5")


def test_parts_of_frames_are_put_together(tmp_path):
    """A GIF or APNG may store only what changes."""
    images = [Image.new("RGB", (64, 48), (200, 0, 0)) for _ in range(3)]
    for k, image in enumerate(images):
        image.paste((0, 0, 200), (10 * k, 10, 10 * k + 10, 20))
    for kind in ("GIF", "PNG"):
        for frame, expected in zip(read(write(tmp_path / "a.img", kind, images)), images, strict=True):
            np.testing.assert_array_equal(frame.image, np.asarray(expected))


def test_the_image_for_those_who_cannot_animate_is_no_frame(tmp_path):
    """A PNG may have one, outside of its animation."""
    results = read(write(tmp_path / "a.png", "PNG", duration=DURATIONS[1:], default_image=True))
    assert means(results) == list(COLOURS[1:]) and results[0].seconds == 0.0 and results[0].total == 4


def test_every_second_frame_and_frames_that_are_done(tmp_path):
    """As of any video."""
    results = read(write(tmp_path / "a.gif", "GIF", duration=100), every=2, skip={0: 3})
    assert [frame.number for frame in results if not frame.is_done] == [5]


def test_pages_have_numbers_and_no_times(tmp_path):
    """They are said to be pages, are read each, and those that are done are left out; --every is for videos."""
    path = write(tmp_path / "a.tif", "TIFF")
    results = read(path, every=2)
    assert [(frame.number, frame.seconds, frame.total) for frame in results] == [(k, None, 5) for k in range(1, 6)]
    assert means(results) == list(COLOURS)
    assert results[0].facts == {
        "pages": 5,
        "note": "a file of 5 pages: each has its own rows, whose frame is the page",
    }
    assert [frame.number for frame in read(path, skip={0: 3})] == [4, 5]


def test_previews_are_no_pages(tmp_path):
    """A small copy of the first page, marked as such, as programs for photographs add."""
    page, preview = Image.new("RGB", (64, 48), (90, 90, 90)), Image.new("RGB", (16, 12), (90, 90, 90))
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    (frame,) = read(write(tmp_path / "a.tif", "TIFF", [page, preview]))
    assert frame.source.kind == "image" and frame.image is not None and frame.image.shape == (48, 64, 3)


def test_a_stack_has_one_range(tmp_path):
    """A dark page of a 12-bit camera is not lit up to the light of another."""
    tifffile = pytest.importorskip("tifffile")
    stack = np.stack([np.full((48, 64), value, np.uint16) for value in (900, 3900, 400)])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    results = read(tmp_path / "a.tif")
    assert means(results) == [900 >> 4, 3900 >> 4, 400 >> 4]
    assert results[0].facts is not None and results[0].facts["note"].endswith(
        "whose frame is the page; 12 bits in 16, judging by its brightest sample: the file does not say"
    )


def test_a_stack_of_colours_has_one_range(tmp_path):
    """As one of greys; of 16 bits where one page is as bright."""
    tifffile = pytest.importorskip("tifffile")
    for brightest, shift in ((3900, 4), (50000, 8)):
        stack = np.stack([np.full((48, 64, 3), value, np.uint16) for value in (900, brightest, 400)])
        tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb")
        results = read(tmp_path / "a.tif")
        assert means(results) == [900 >> shift, brightest >> shift, 400 >> shift]
        assert results[0].facts is not None and ("12 bits in 16" in results[0].facts["note"]) == (shift == 4)


def test_a_damaged_page_costs_that_page_only(tmp_path):
    """The others are read."""
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)) for _ in range(3)]
    path = write(tmp_path / "a.tif", "TIFF", noise, compression="tiff_adobe_deflate")
    content = bytearray(path.read_bytes())
    with Image.open(path) as image:
        image.seek(1)
        begin = int(np.ravel(image.getexif()[273])[0])  # StripOffsets
    content[begin : begin + 500] = bytes(500)
    path.write_bytes(content)
    results = read(path)
    assert [frame.image is None for frame in results] == [False, True, False]
    assert results[1].problem and results[1].problem.startswith("page 2: broken or cut off")
    np.testing.assert_array_equal(results[2].image, np.asarray(noise[2]))


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_an_animation_that_is_cut_off_says_where(tmp_path, kind, share):
    """After the frames that are whole."""
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)) for _ in range(6)]
    path = write(tmp_path / "a.img", kind, noise, duration=100)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    *whole, last = read(path)
    assert [frame.number for frame in whole] == list(range(1, last.number)) and len(whole) == (2 if share == 0.5 else 5)
    assert last.image is None and last.problem and last.problem.startswith("broken or cut off")
    assert last.problem.endswith(f"(after {len(whole)} frames)")


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.8, 0.97])
def test_pages_that_are_cut_off_are_not_left_out_in_silence(tmp_path, compression, share):
    """Neither is a file of several pages one image because the second one is damaged."""
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)) for _ in range(5)]
    path = write(tmp_path / "a.tif", "TIFF", noise, compression=compression)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    *whole, last = read(path)
    assert whole and [frame.number for frame in whole] == list(range(1, last.number))
    assert last.problem and "cut off" in last.problem


def test_a_gif_that_ends_between_two_frames_is_cut_off(tmp_path):
    """It has no end mark, and nobody counts its frames; zeros behind the mark do no harm."""
    path = write(tmp_path / "a.gif", "GIF", duration=100)
    content = path.read_bytes()
    path.write_bytes(content + bytes(3))
    assert [frame.problem for frame in read(path)] == [None] * 5
    path.write_bytes(content[:-1])
    assert read(path)[-1].problem == "cut off after 5 frames"


def test_a_canvas_of_too_many_pixels_is_refused(tmp_path):
    """By the header, before Pillow makes room for one."""
    path = write(tmp_path / "a.gif", "GIF", duration=100)
    content = bytearray(path.read_bytes())
    content[6:10] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    (frame,) = read(path)
    assert frame.problem and "larger than 50,000,000 pixels" in frame.problem


def test_other_files_are_no_animations(tmp_path):
    """Nor are what is missing, a folder, a pipe, or text."""
    (tmp_path / "a.gif").write_text("GIF8 is not enough")
    for path in (tmp_path / "a.gif", tmp_path / "missing", tmp_path, "/dev/zero"):
        assert animations.kind_of(path) is None
    with pytest.raises(ImageError):
        list(animations.read(tmp_path / "a.gif", "animation"))
