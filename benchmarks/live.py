"""The pace of a student end to end: a video file to its table, and the same file as a camera, with its latency.

Frames are 640x480 with one moving face; the student has random weights, whose pace is that of any. Processor time is
given beside the pace: other programs on the machine take from the pace, and hardly from that.
"""

import contextlib
import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import media
from fgnet_jax.faces import finder
from fgnet_jax.media import frames, sources
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY_STUDENT, StudentConfig
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.predict import outputs, pipeline
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.detector import Detector
from fgnet_jax.predict.live import LiveCamera
from fgnet_jax.predict.pipeline import FrameResult, PredictOptions
from fgnet_jax.runtime.progress import DeviceWatch, Stages
from tests import miniature

AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
"""Those of a student of BP4D."""

_WARM = 15  # frames that are not counted: the first detection, the first results
_RATE = 30  # frames a second of the camera


@dataclasses.dataclass(frozen=True)
class Pace:
    """The pace of a run.

    Attributes:
      case: What was measured.
      frames: Frames that were counted.
      a_second: Frames a second.
      processor_ms: Processor time per frame, of all cores.
      load: Programs that wanted to run meanwhile, as the system has it; None where it does not say.
      shares: Of the time, that each stage takes, by stage; they run side by side.
      live: Of a camera: frames captured, predicted and dropped, latency in ms.
    """

    case: str
    frames: int
    a_second: float
    processor_ms: float
    load: float | None
    shares: dict[str, float]
    live: dict[str, Any] | None = None


def measure(count: int, *, is_tiny: bool) -> list[Pace]:
    """Measure files of `count` frames, all faces and the largest, and a camera."""
    with tempfile.TemporaryDirectory() as folder:
        network, clip = _network(Path(folder), is_tiny=is_tiny), Path(folder) / "clip.mp4"
        miniature.write_video(clip, [*media.videos(count)[0].images], "libx264", _RATE)
        rows = [_file(network.for_video_files(), clip, largest=largest) for largest in (False, True)]
        return [*rows, _camera(network, clip)]


def _network(folder: Path, *, is_tiny: bool) -> Detector:
    """Load a student with random weights."""
    config = dataclasses.replace(TINY_STUDENT if is_tiny else StudentConfig(), num_heatmaps=len(AUS))
    weights.save(folder / "student", config, fgnet.init(config), WeightsMeta(aus=AUS))
    network = Detector.load(folder / "student")
    network.compile()
    return network


def _file(network: Detector, clip: Path, *, largest: bool) -> Pace:
    """Measure a file's way to its table."""
    network.compile()
    (source,), stages, options = sources.find([str(clip)]), Stages(), PredictOptions(largest=largest)
    watch = DeviceWatch(stages, "network")
    detected = finder.find(
        stages.iterating("reading", frames.read([source])),
        options.finder_options(network.config.image_size),
        stages.timed,
    )
    results = pipeline.predict_frames(
        network, detected, heatmaps=False, on_start=lambda pending: watch.watch(pending.wait)
    )
    with contextlib.ExitStack() as stack:
        stack.callback(watch.close)
        table = stack.enter_context(_table(network, source, clip.parent / f"{largest}.csv"))
        return _pace("a file, the largest face" if largest else "a file", _written(network, table, results), stages)


@contextlib.contextmanager
def _table(network: Detector, source: sources.Source, path: Path) -> Iterator[outputs.OpenOutputs]:
    """Open the table of a file."""
    options = outputs.OutputOptions(table=str(path))
    with contextlib.ExitStack() as stack:
        yield outputs.open_all(
            stack,
            options,
            options.table_columns(network.aus),
            aus=network.aus,
            size=network.config.heatmap_size,
            sources=[source],
            resume_point=ResumePoint(),
        )


def _written(network: Detector, table: outputs.OpenOutputs, results: Iterator[FrameResult]) -> Iterator[FrameResult]:
    """Write the rows of all frames."""
    thresholds = PredictOptions().thresholds_of(network.aus)
    for result in results:
        table.write(result, pipeline.rows(result, thresholds))
        yield result


def _camera(network: Detector, clip: Path) -> Pace:
    """Measure the file as a camera."""
    stages = Stages()
    camera = LiveCamera(network, sources.webcam(str(clip)), PredictOptions(), heatmaps=False, stages=stages)
    source = sources.webcam(str(clip))
    with _table(network, source, clip.parent / "camera.csv") as table:
        pace = _pace(
            f"a camera of {_RATE} frames/s", _written(network, table, camera.results(lambda: None)), stages, warm=1
        )
    return dataclasses.replace(pace, live=camera.meter.summary())


def _pace(case: str, results: Iterator[FrameResult], stages: Stages, warm: int = _WARM) -> Pace:
    """Measure how fast results come, after the first ones."""
    for _ in zip(range(warm), results, strict=False):
        pass
    stages.begin()
    begin, begin_core = time.perf_counter(), time.process_time()
    count = sum(1 for _ in results)
    seconds, core = time.perf_counter() - begin, time.process_time() - begin_core
    return Pace(
        case=case,
        frames=count,
        a_second=count / seconds,
        processor_ms=1000 * core / max(count, 1),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        shares={stage: spent / seconds for stage, spent in stages.seconds.items()},
    )


def table(paces: list[Pace]) -> str:
    """Format the results."""
    lines = [f"{'':26}{'frames':>7}{'a second':>10}{'processor, ms/frame':>21}{'network':>9}{'load':>7}"]
    for pace in paces:
        network = next((share for stage, share in pace.shares.items() if stage.startswith("network")), 0.0)
        load = "" if pace.load is None else f"{pace.load:.1f}"
        lines.append(
            f"{pace.case:26}{pace.frames:7}{pace.a_second:10.1f}{pace.processor_ms:21.1f}{network:9.0%}{load:>7}"
        )
        if pace.live is not None and pace.live["latency_ms"]:
            latency = pace.live["latency_ms"]
            rare = "" if latency["99th"] is None else f" (99th {latency['99th']:.0f})"
            lines.append(
                f"{'':26}latency {latency['median']:.0f} ms{rare}, {pace.live['dropped']} of"
                f" {pace.live['captured']} frames dropped"
            )
    return "\n".join(lines)
