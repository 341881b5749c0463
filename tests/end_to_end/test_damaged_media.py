"""Random damage to images, animations and videos: each gives rows or a reason, in time and in memory, never a crash.

FGNET_JAX_MEDIA_MUTATIONS=1000 python -m pytest tests/end_to_end/test_damaged_media.py -s
"""

import csv
import dataclasses
import os
import queue
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import av
import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.predicting import Predict, astronaut, predict  # noqa: F401 - a fixture

MUTATIONS = int(os.environ.get("FGNET_JAX_MEDIA_MUTATIONS", "34"))
SEED = int(os.environ.get("FGNET_JAX_MEDIA_MUTATIONS_SEED", "0"))
BATCH = 50  # files that one process predicts
START_SECONDS, HANG_SECONDS = 240, 60
MEMORY = 2 * 2**30  # bytes

Mutation = Callable[[bytes, np.random.Generator], bytes]


def one_bit(content: bytes, random: np.random.Generator) -> bytes:
    """A flipped bit."""
    return many_bits(content, random, 1)


def many_bits(content: bytes, random: np.random.Generator, count: int = 50) -> bytes:
    """Flipped bits all over the file."""
    changed = np.frombuffer(content, np.uint8).copy()
    places = random.integers(len(content), size=count)
    changed[places] ^= (1 << random.integers(8, size=count)).astype(np.uint8)
    return changed.tobytes()


def header(content: bytes, random: np.random.Generator) -> bytes:
    """Other values in the header: sizes, counts, offsets."""
    changed = np.frombuffer(content, np.uint8).copy()
    places = random.integers(min(len(content), 400), size=random.integers(1, 9))
    changed[places] = random.choice(np.array([0, 1, 127, 128, 255, random.integers(256)], np.uint8), len(places))
    return changed.tobytes()


def noise(content: bytes, random: np.random.Generator) -> bytes:
    """A block of something else."""
    begin, size = int(random.integers(len(content))), int(random.choice([16, 512, 4096]))
    return content[:begin] + random.bytes(min(size, len(content) - begin)) + content[begin + size :]


def cut(content: bytes, random: np.random.Generator) -> bytes:
    """A copy that ended early."""
    return content[: int(random.integers(1, len(content)))]


def shift(content: bytes, random: np.random.Generator) -> bytes:
    """Some bytes lost, others before the rest."""
    place, lost = int(random.integers(len(content))), int(random.integers(16))
    return content[:place] + random.bytes(int(random.integers(16))) + content[place + lost :]


KINDS: dict[str, Mutation] = {
    mutation.__name__: mutation for mutation in (one_bit, many_bits, header, noise, cut, shift)
}

CODECS = {
    "a.mp4": ("libx264", "yuv420p"),
    "hevc.mp4": ("libx265", "yuv420p"),
    "av1.mp4": ("libsvtav1", "yuv420p"),
    "a.mkv": ("libx264", "yuv420p"),
    "ffv1.mkv": ("ffv1", "yuv420p"),
    "a.avi": ("mjpeg", "yuvj420p"),
    "xvid.avi": ("mpeg4", "yuv420p"),
    "raw.avi": ("rawvideo", "yuv420p"),
    "a.mov": ("prores_ks", "yuv422p10le"),
    "a.webm": ("libvpx-vp9", "yuv420p"),
    "vp8.webm": ("libvpx", "yuv420p"),
    "a.ts": ("libx264", "yuv420p"),
    "a.mpg": ("mpeg2video", "yuv420p"),
    "a.wmv": ("wmv2", "yuv420p"),
}
"""Videos that are damaged, with FFmpeg's encoder and pixel format."""


def write_images(folder: Path, turned: list[Image.Image]) -> None:
    """Write the first of some images in every format."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    for suffix in ("jpg", "png", "bmp", "ppm", "jp2", "webp", "avif", "heic", "tif", "gif"):
        turned[0].save(folder / f"a.{suffix}")
    turned[0].save(folder / "lzw.tif", compression="tiff_lzw")
    grey = np.asarray(turned[0].convert("L")).astype(np.uint16) << 4
    for name in ("grey.png", "grey.tif"):
        Image.fromarray(grey).save(folder / name)


def write_animations(folder: Path, turned: list[Image.Image]) -> None:
    """Write files of several images."""
    for kind, suffix in (("GIF", "gif"), ("WEBP", "webp"), ("PNG", "apng"), ("AVIF", "avif"), ("TIFF", "tif")):
        options = {} if kind == "TIFF" else {"duration": 80}
        turned[0].save(folder / f"several.{suffix}", kind, save_all=True, append_images=turned[1:], **options)


def write_videos(folder: Path, turned: list[Image.Image]) -> None:
    """Write videos in many formats."""
    for name, (codec, pixels) in CODECS.items():
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = *turned[0].size, pixels
            for k in range(12):
                container.mux(stream.encode(av.VideoFrame.from_image(turned[k % len(turned)])))
            container.mux(stream.encode())


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[Path]:
    """Return intact files of a face, of every kind."""
    folder = tmp_path_factory.mktemp("whole")
    photograph = Image.fromarray(astronaut()).crop((100, 0, 360, 240)).resize((192, 176))
    turned = [photograph.rotate(2 * k) for k in range(3)]
    for write in (write_images, write_animations, write_videos):
        write(folder, turned)
    return sorted(folder.iterdir())


def damaged(whole: list[Path], folder: Path, first: int, count: int) -> list[Path]:
    """Write damaged copies, number `first` and those after it: every number's is always the same."""
    files = []
    for number in range(first, first + count):
        random = np.random.default_rng([SEED, number])
        source, kind = whole[number % len(whole)], list(KINDS)[int(random.integers(len(KINDS)))]
        files.append(folder / f"{number}_{kind}_{source.name}")
        files[-1].write_bytes(KINDS[kind](source.read_bytes(), random))
    return files


@dataclasses.dataclass
class Outcome:
    """What predicting a batch came to.

    Attributes:
      status: The exit status; negative for a signal.
      rows: The table.
      errors: Standard error.
      memory: Largest resident memory, in bytes.
      longest: Longest time without a row, after the first, in seconds.
    """

    status: int
    rows: list[dict[str, str]]
    errors: str
    memory: int
    longest: float


def peak_memory(pid: int) -> int:
    """Return the largest resident memory of a process so far, in bytes; 0 where it has ended.

    Not `ru_maxrss`: that counts what the process had in common with the tests' own before it started another program.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def lines_in_time(process: subprocess.Popen) -> Iterator[tuple[str, float]]:
    """Yield the lines of a process with the seconds that each took; a process that hangs is killed."""
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()

    def read(stdout: IO[str]) -> None:
        with stdout:
            for line in stdout:
                lines.put(line)
        lines.put("")

    threading.Thread(target=read, args=[process.stdout], daemon=True).start()
    patience = START_SECONDS
    while True:
        begun = time.monotonic()
        try:
            line = lines.get(timeout=patience)
        except queue.Empty:
            process.kill()
            pytest.fail(f"no row for {patience} s: a hang")
        if not line:
            return
        yield line, 0.0 if patience == START_SECONDS else time.monotonic() - begun
        patience = HANG_SECONDS


def run(command: Predict, files: list[Path], folder: Path) -> Outcome:
    """Predict files in one process, and watch it."""
    with open(folder / "errors", "w+") as errors:
        process = command.start("--csv", "-", *files, stderr=errors)
        timed, memory = [], 0
        for line, seconds in lines_in_time(process):
            timed.append((line, seconds))
            memory = max(memory, peak_memory(process.pid))
        process.wait()
        errors.seek(0)
        return Outcome(
            status=process.returncode,
            rows=list(csv.DictReader(line for line, _ in timed)),
            errors=errors.read(),
            memory=memory,
            longest=max((seconds for _, seconds in timed), default=0.0),
        )


def test_damaged_media_give_rows_or_reasons(predict, whole, tmp_path, capfd):  # noqa: F811
    """No crash, no minute without a row, less than 2 GB; each file has a row, and a row without a result a reason."""
    answered, longest, memory = {"with a result": 0, "without": 0}, 0.0, 0
    for first in range(0, MUTATIONS, BATCH):
        files = damaged(whole, tmp_path, first, min(BATCH, MUTATIONS - first))
        outcome = run(predict, files, tmp_path)
        assert outcome.status in (0, 1), f"exit status {outcome.status}, from number {first} on\n{outcome.errors}"
        assert "Traceback" not in outcome.errors, outcome.errors
        for file in files:
            of_file = [row for row in outcome.rows if row["input"] == str(file)]
            assert of_file, f"{file.name} has no row"
            success = all(row["success"] == "1" for row in of_file)
            assert success or f"{file}" in outcome.errors, f"{file.name}: no reason\n{outcome.errors}"
            answered["with a result" if any(row["success"] == "1" for row in of_file) else "without"] += 1
            file.unlink()
        longest, memory = max(longest, outcome.longest), max(memory, outcome.memory)
        assert outcome.memory < MEMORY
    with capfd.disabled():
        print(f"\n{answered}, longest time without a row {longest:.1f} s, {memory / 2**30:.2f} GB")


def test_intact_files_have_results(predict, whole, tmp_path):  # noqa: F811
    """The files that are damaged: a face is found in every one, and in every frame of most."""
    outcome = run(predict, whole, tmp_path)
    assert {row["input"] for row in outcome.rows if row["success"] == "1"} == {str(file) for file in whole}
    assert outcome.status == 0 and 0 < outcome.memory < MEMORY


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_damage_changes_a_file(kind):
    """Nothing is tested otherwise."""
    content = np.random.default_rng(1).bytes(5000)
    assert all(KINDS[kind](content, np.random.default_rng(k)) != content for k in range(20))
