"""Tiny teachers, tiny students and a few faces, for the tests of this folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgnet_jax.distill import defaults
from fgnet_jax.distill.run import DistillRequest
from fgnet_jax.media import sources
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY, TINY_STUDENT
from fgnet_jax.predict.pipeline import PredictOptions

AUS = (1, 12, 25)

OVERRIDES = {
    **{
        f"model.{key}": value for key, value in TINY_STUDENT.to_dict().items() if key not in ("network", "num_heatmaps")
    },
    "distill.shard_faces": 4,
    "data.threads": 1,
    "optim.warmup_steps": 1,
    "train.batch_size": 4,
    "train.eval_batch_size": 4,
    "train.steps": 6,
    "train.evaluate_steps": 3,
    "train.checkpoint_steps": 2,
    "train.loggers": (),
}
"""Keys of a student that trains in seconds."""

KILLED = """
import os, signal, sys
import numpy as np
savez, written = np.savez, []
def killed(stream, **arrays):
    written.append(1)
    if len(written) == 3:
        stream.write(b"PK" + bytes(1000))
        stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    savez(stream, **arrays)
np.savez = killed
from fgnet_jax.distill.__main__ import main
sys.exit(main())
"""
"""The command, killed while it writes the third shard."""


def teacher(
    folder: Path,
    aus: Sequence[int] = AUS,
    *,
    seed: int = 0,
    corpus: str | None = None,
    extra: dict[str, Any] | None = None,
) -> Path:
    """Write a tiny network with random weights; return its folder."""
    meta = weights.WeightsMeta(aus=tuple(aus), corpus=corpus, extra=extra or {})
    weights.save(folder, TINY, fgnet.init(TINY, seed), meta)
    return folder


def faces(folder: Path, count: int, seed: int = 0) -> Path:
    """Write aligned faces, smooth random images of a tiny teacher's size; return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for k in range(count):
        image = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
        image.save(folder / f"{k:03d}.png")
    return folder


def words(**changes: Any) -> list[str]:
    """Return the overrides of a tiny student as a command line has them; names with `__` for a dot."""
    values = OVERRIDES | {key.replace("__", "."): value for key, value in changes.items()}
    return [f"--config.{key}={value}" for key, value in values.items()]


def request(teachers: Sequence[Path], inputs: Sequence[Path], output: Path, **changes: Any) -> DistillRequest:
    """Return the request of a tiny student of aligned faces."""
    return DistillRequest(
        teachers=list(map(str, teachers)),
        sources=sources.find(list(map(str, inputs))),
        options=PredictOptions(aligned=True),
        output=output,
        config=defaults.load("student", words(**changes)),
    )
