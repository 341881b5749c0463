"""The parts of `python -m benchmarks`: each measures, prints its table and returns it for the JSON."""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from benchmarks import apart, jobs, machine, memory, start, timing
from benchmarks import media as media_lib
from benchmarks import preparation as preparation_lib
from fgnet_jax.models.config import REMATS, TINY, ModelConfig
from fgnet_jax.models.ops import switches

Options = argparse.Namespace
Found = list[dict[str, Any]]


def inference(options: Options) -> Found:
    """The network and its stages, ours and PyTorch's in turns."""
    found: Found = []
    for config, batch in _cases(options, options.batch):
        ours = {(jobs.OURS, ""): (jobs.inference, config, batch)}
        rivals = _rivals(jobs.rival_inference, config, batch, options)
        found += _shown(_measured(ours | rivals, options.rounds, "inference", config, batch))
    return found


def training(options: Options) -> Found:
    """A step, one network after the other: two of them with their gradients do not fit into this memory."""
    found: Found = []
    for config, batch in _cases(options, options.step_batch):
        remats = [dataclasses.replace(config, remat=remat) for remat in options.remat]
        ours = {(jobs.OURS, each.remat): (jobs.training, each, batch) for each in remats}
        rivals = _rivals(jobs.rival_training, config, batch, options)
        one_by_one = [{name: make} for name, make in (ours | rivals).items()]
        found += _shown([r for make in one_by_one for r in _measured(make, options.rounds, "training", config, batch)])
    return found


def _measured(makes: apart.Makes, rounds: int, task: str, config: ModelConfig, batch: int) -> list[timing.Row]:
    found = apart.in_turns(makes, rounds)
    rate = machine.rate(config.dtype)
    return [
        timing.row(figures, runs, rate, task=task, stage=stage, network=network, remat=remat, dtype=config.dtype,
                   batch=batch)
        for (network, remat), stages in found.items() for stage, (figures, runs) in stages.items()
    ]  # fmt: skip


def _rivals(make: apart.Make, config: ModelConfig, batch: int, options: Options) -> dict[apart.Name, tuple[Any, ...]]:
    ways = [jobs.PUBLISHED, jobs.BEST, *([jobs.COMPILED] if options.compile else [])]
    return {(way, ""): (make, config, batch, options.threads, way) for way in ways if options.rivals}


def paths(options: Options) -> Found:
    """Each fast path off: the network on one image, and a step of one, against all of them on."""
    config, found = _config(options), []
    singly = [*switches.PATHS][: 1 if options.tiny else None]
    for off in ((), *((path,) for path in singly), tuple(switches.PATHS)):
        with switches.without(off):
            job = jobs.inference(config, 1)["whole"]
            cost = memory.measure(config, 1)
        seconds = min(timing.in_turns({"whole": job.run}, options.rounds)["whole"])
        name = "all off" if len(off) > 1 else f"without {off[0]}" if off else "all on"
        found.append({"paths": name, "seconds": seconds, "gflop": job.figures.gflop, "step": dataclasses.asdict(cost)})
    print(f"{'':18}{'image, s':>11}{'GFLOP':>7}{'step: GFLOP':>13}{'temporaries, GB':>17}")
    for each in found:
        cost = each["step"]
        print(f"{each['paths']:18}{each['seconds']:11.3f}{each['gflop']:7.0f}"
              f"{cost['gflop']:13.0f}{cost['temporaries'] / 1e9:17.2f}")  # fmt: skip
    return found


def memory_(options: Options) -> Found:
    """What a step takes for each policy of rematerialisation."""
    costs = [
        memory.measure(dataclasses.replace(config, remat=remat), batch)
        for config, batch in _cases(options, options.step_batch)
        for remat in REMATS
    ]
    print(memory.table(costs))
    return [dataclasses.asdict(cost) for cost in costs]


def scaling(options: Options) -> Found:
    """Operations and memory of the forward pass by batch and by the generator's side."""
    found = memory.scaling(_config(options))
    print(memory.scaling_table(found))
    return found


def start_(options: Options) -> dict[str, Any]:
    """Cold start, and input."""
    took, paces = start.cold(_config(options)), start.input_paces(64 if options.tiny else 2000)
    print(start.table(took, paces))
    return {"cold": took, "input": paces}


def preparation(options: Options) -> dict[str, Any]:
    """A detector's error, and the pace of preparing a corpus."""
    faces, frames, workers = (3, 8, 1) if options.tiny else (60, 1200, options.threads)
    errors = [preparation_lib.detector_error(f"synthetic_{name}", faces) for name in ("bp4d", "disfa")]
    paces = list(preparation_lib.paces(frames, workers))
    print(preparation_lib.table(errors, paces))
    return {"errors": [dataclasses.asdict(e) for e in errors], "paces": [dataclasses.asdict(p) for p in paces]}


def media(options: Options) -> dict[str, Any]:
    """Videos: what following faces costs, and their pace."""
    films = media_lib.films(12 if options.tiny else 120)
    every = media_lib.EVERY[::3] if options.tiny else media_lib.EVERY
    followed = [row for film in films for row in media_lib.follow(film, every)]
    paces = {step: media_lib.pace(films[0], step, 1 if options.tiny else 5) for step in every}
    print(media_lib.table(followed, paces))
    return {"followed": [dataclasses.asdict(row) for row in followed], "paces": paces}


PARTS: dict[str, Callable[[Options], Any]] = {
    "inference": inference,
    "training": training,
    "memory": memory_,
    "scaling": scaling,
    "paths": paths,
    "start": start_,
    "preparation": preparation,
    "media": media,
}
"""By the name that the command line knows."""


def _config(options: Options) -> ModelConfig:
    # GPUs multiply in TF32 then, as PyTorch's convolutions do unless told otherwise
    return dataclasses.replace(TINY if options.tiny else ModelConfig(), precision="default")


def _cases(options: Options, batches: list[int]) -> list[tuple[ModelConfig, int]]:
    return [(dataclasses.replace(_config(options), dtype=dtype), batch) for dtype in options.dtype for batch in batches]


def _shown(rows: list[timing.Row]) -> Found:
    for dtype in {row.dtype: None for row in rows}:
        print(f"plain matrix products in {dtype}: {machine.rate(dtype):.0f} GFLOP/s, on {jax.default_backend()}")
    print(timing.table(rows), flush=True)
    return [dataclasses.asdict(row) for row in rows]
