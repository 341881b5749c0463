"""`python -m benchmarks step`: cost of a training step; `… inference`: pace of a picture; `… preparation`: of faces;
`… media`: of video, and what following faces costs; `… training`: pace of a training step."""

import argparse
import dataclasses
import os

from benchmarks import inference, media, preparation, step, training
from fgnet_jax.models.config import TINY, ModelConfig


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", choices=["step", "training", "inference", "preparation", "media"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2], help="batch sizes of a step (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each network (default: 5)")
    parser.add_argument("--tiny", action="store_true", help="the tiny network, or few faces, to try the command")
    arguments = parser.parse_args()
    config = TINY if arguments.tiny else ModelConfig()
    if arguments.what == "step":
        configs = [dataclasses.replace(config, remat=remat) for remat in ("none", "blocks")]
        print(step.table([step.measure(c, batch) for batch in arguments.batch for c in configs]))
    elif arguments.what == "training":
        for batch in arguments.batch:
            paces = training.paces(config, batch, arguments.rounds, os.cpu_count() or 1)
            print(inference.table(paces, f"step of {batch}"))
    elif arguments.what == "preparation":
        faces, frames, workers = (3, 8, 1) if arguments.tiny else (60, 1200, os.cpu_count() or 1)
        errors = [preparation.detector_error(f"synthetic_{name}", faces) for name in ("bp4d", "disfa")]
        print(preparation.table(errors, list(preparation.paces(frames, workers))))
    elif arguments.what == "media":
        films = media.films(12 if arguments.tiny else 120)
        every = media.EVERY[::3] if arguments.tiny else media.EVERY
        followed = [row for film in films for row in media.follow(film, every)]
        print(media.table(followed, {step: media.pace(films[0], step, 1 if arguments.tiny else 5) for step in every}))
    else:
        found = inference.jobs(config, os.cpu_count() or 1)
        print(inference.table(inference.measure(found, arguments.rounds)))


if __name__ == "__main__":
    main()
