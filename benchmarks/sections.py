"""The parts of `python -m benchmarks`: each measures, prints a table and returns its results for the JSON file.

Each imports what it needs, so that those of the network run where neither TFDS nor OpenCV is installed.
"""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from benchmarks import apart, machine, memory, tasks, timing
from fgnet_jax.faces.detection import DETECTORS
from fgnet_jax.models.config import REMATS, TINY, ModelConfig
from fgnet_jax.models.ops import switches

Options = argparse.Namespace
"""The command's options."""
Results = list[dict[str, Any]]
"""Measurements, as JSON has them."""


def inference(options: Options) -> Results:
    """Measure the network and its stages, ours and PyTorch's in turns."""
    results: Results = []
    for config, batch in _cases(options, options.batch):
        jax_network = {(tasks.OURS, ""): (tasks.inference, config, batch)}
        rivals = _rivals(tasks.torch_inference, config, batch, options)
        results += _shown(_measure(jax_network | rivals, options.rounds, "inference", config, batch))
    return results


def training(options: Options) -> Results:
    """Measure a step, one network after the other: two with their gradients may not fit into memory."""
    results: Results = []
    for config, batch in _cases(options, options.step_batch):
        remats = [dataclasses.replace(config, remat=remat) for remat in options.remat]
        jax_network = {(tasks.OURS, each.remat): (tasks.training, each, batch) for each in remats}
        rivals = _rivals(tasks.torch_training, config, batch, options)
        one_by_one = [{name: factory} for name, factory in (jax_network | rivals).items()]
        results += _shown(
            [row for factory in one_by_one for row in _measure(factory, options.rounds, "training", config, batch)]
        )
    return results


def _measure(
    factories: apart.Factories, rounds: int, task: str, config: ModelConfig, batch: int
) -> list[timing.TimingRow]:
    results = apart.in_turns(factories, rounds)
    rate = machine.rate(config.dtype)
    return [
        timing.row(cost, runs, rate, task=task, stage=stage, network=network, remat=remat, dtype=config.dtype,
                   batch=batch)
        for (network, remat), stages in results.items() for stage, (cost, runs) in stages.items()
    ]  # fmt: skip


def _rivals(
    factory: apart.Factory, config: ModelConfig, batch: int, options: Options
) -> dict[apart.Name, tuple[Any, ...]]:
    variants = [tasks.PUBLISHED, tasks.BEST, *([tasks.COMPILED] if options.compile else [])]
    return {(name, ""): (factory, config, batch, options.threads, name) for name in variants if options.rivals}


def paths(options: Options) -> Results:
    """Measure the network on one image, and a step on one image, with each fast path switched off."""
    config, results = _config(options), []
    singly = [path for path in switches.PATHS if switches.is_on(path)][: 1 if options.tiny else None]
    for off in ((), *((path,) for path in singly), tuple(switches.PATHS)):
        with switches.without(off):
            task = tasks.inference(config, 1)["whole"]
            cost = memory.measure(config, 1)
        seconds = min(timing.in_turns({"whole": task.run}, options.rounds)["whole"])
        name = "all off" if len(off) > 1 else f"without {off[0]}" if off else "all on"
        results.append({"paths": name, "seconds": seconds, "gflop": task.cost.gflop, "step": dataclasses.asdict(cost)})
    print(f"{'':18}{'image, s':>11}{'GFLOP':>7}{'step: GFLOP':>13}{'temporaries, GB':>17}")
    for result in results:
        step = result["step"]
        print(f"{result['paths']:18}{result['seconds']:11.3f}{result['gflop']:7.0f}"
              f"{step['gflop']:13.0f}{step['temporaries'] / 1e9:17.2f}")  # fmt: skip
    return results


def memory_(options: Options) -> Results:
    """Measure operations and memory of a step for each policy of rematerialisation."""
    costs = [
        memory.measure(dataclasses.replace(config, remat=remat), batch)
        for config, batch in _cases(options, options.step_batch)
        for remat in REMATS
    ]
    print(memory.table(costs))
    return [dataclasses.asdict(cost) for cost in costs]


def scaling(options: Options) -> Results:
    """Measure operations and memory of the forward pass by batch size and by the generator's side."""
    costs = memory.scaling(_config(options))
    print(memory.scaling_table(costs))
    return costs


def start_(options: Options) -> dict[str, Any]:
    """Measure the cold start, and the input pipeline."""
    from benchmarks import start

    seconds, rates = start.cold(_config(options)), start.input_rates(64 if options.tiny else 2000)
    print(start.table(seconds, rates))
    return {"cold": seconds, "input": rates}


def preparation(options: Options) -> dict[str, Any]:
    """Measure the face detector's error, and the speed of preparing a corpus."""
    from benchmarks import preparation as preparation_lib

    faces, frames, workers = (3, 8, 1) if options.tiny else (60, 1200, options.threads)
    errors = [preparation_lib.detector_error(f"synthetic_{name}", faces) for name in ("bp4d", "disfa")]
    speeds = list(preparation_lib.speeds(frames, workers))
    print(preparation_lib.table(errors, speeds))
    return {"errors": [dataclasses.asdict(e) for e in errors], "speeds": [dataclasses.asdict(s) for s in speeds]}


def media(options: Options) -> dict[str, Any]:
    """Measure the error of tracking faces in videos, and the speed of reading videos."""
    from benchmarks import media as media_lib

    videos = media_lib.videos(12 if options.tiny else 120)
    every = media_lib.EVERY[::3] if options.tiny else media_lib.EVERY
    tracked = [row for video in videos for row in media_lib.track(video, every, options.detector)]
    rates = {step: media_lib.rates(videos[0], step, 1 if options.tiny else 5, options.detector) for step in every}
    print(media_lib.table(tracked, rates))
    return {"tracked": [dataclasses.asdict(row) for row in tracked], "rates": rates}


def detection(options: Options) -> dict[str, Any]:
    """Measure which faces each detector finds, false ones, its landmarks' error and its pace."""
    from benchmarks import detection as detection_lib

    results = [detection_lib.measure(name, options.pictures, is_tiny=options.tiny) for name in DETECTORS]
    print(detection_lib.table(results))
    return {"detectors": [dataclasses.asdict(result) for result in results]}


def live(options: Options) -> dict[str, Any]:
    """Measure a student's pace end to end, on a file and on a camera, and the camera's latency."""
    from benchmarks import live as live_lib

    paces = live_lib.measure(30 if options.tiny else 600, is_tiny=options.tiny)
    print(live_lib.table(paces))
    return {"paces": [dataclasses.asdict(pace) for pace in paces]}


PARTS: dict[str, Callable[[Options], Any]] = {
    "inference": inference,
    "training": training,
    "memory": memory_,
    "scaling": scaling,
    "paths": paths,
    "start": start_,
    "preparation": preparation,
    "media": media,
    "detection": detection,
    "live": live,
}
"""Parts by their names on the command line."""


def _config(options: Options) -> ModelConfig:
    # so that GPUs multiply in TF32, as PyTorch's convolutions do by default
    return dataclasses.replace(TINY if options.tiny else ModelConfig(), precision="default")


def _cases(options: Options, batches: list[int]) -> list[tuple[ModelConfig, int]]:
    return [(dataclasses.replace(_config(options), dtype=dtype), batch) for dtype in options.dtype for batch in batches]


def _shown(rows: list[timing.TimingRow]) -> Results:
    for dtype in {row.dtype: None for row in rows}:
        print(f"plain matrix products in {dtype}: {machine.rate(dtype):.0f} GFLOP/s, on {jax.default_backend()}")
    print(timing.table(rows), flush=True)
    return [dataclasses.asdict(row) for row in rows]
