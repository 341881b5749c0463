"""Cold start, from a new process to the first prediction; and input: faces rendered, and read in batches."""

import itertools
import json
import subprocess
import sys
import tempfile
import time

import numpy as np
import tensorflow_datasets as tfds

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import pipeline
from fgnet_jax.data.corpus import open_directory
from fgnet_jax.data.synthetic.builders import prepare_synthetic
from fgnet_jax.data.synthetic.corpus import recordings
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.runtime import workers

_PROGRAM = """
import json, sys, time

seconds, begin = {}, time.perf_counter()

def lap(name):
    seconds[name] = time.perf_counter() - begin - sum(seconds.values())

import numpy as np
import tensorflow_datasets as tfds
import jax
from fgnet_jax.predict.detector import Detector

lap("import")
detector = Detector.load(sys.argv[1], batch_size=1)
lap("load")
detector.compile()
lap("compile")
faces = np.zeros((1, int(sys.argv[2]), int(sys.argv[2]), 3), np.uint8)
detector.predict(faces)
lap("first image")
detector.predict(faces)
lap("second image")
print(json.dumps(seconds))
"""


def cold(config: ModelConfig) -> dict[str, float]:
    """Measure seconds of each part of a new process up to its first predictions; weights on disk, nothing compiled."""
    with tempfile.TemporaryDirectory() as folder:
        meta = weights.WeightsMeta(aus=CORPUS_AUS["disfa"], corpus="disfa")
        weights.save(f"{folder}/weights", config, fgnet.init(config), meta)
        command = [sys.executable, "-c", _PROGRAM, f"{folder}/weights", str(config.image_size)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(output)


def input_rates(faces: int) -> dict[str, float]:
    """Measure faces of 256x256 per second of one core: rendered; and read, decoded and batched by one thread.

    It runs in a worker, as preparation does, with one BLAS thread: more would busy-wait on other cores.
    """
    [rates] = workers.in_order(_input_rates, [faces], 1)
    return rates


def _input_rates(faces: int) -> dict[str, float]:
    plan = recordings("synthetic_bp4d", faces)
    plan[0].render(0)  # computes tables once
    begin = time.process_time()
    for recording in plan:
        for k in range(len(recording.views)):
            recording.render(k)
    rendered = faces / (time.process_time() - begin)
    with tempfile.TemporaryDirectory() as folder:
        builder = prepare_synthetic("synthetic_bp4d", folder, frames=faces)
        return {"rendered": rendered, "loaded": _loading_rate(builder)}


def _loading_rate(builder: tfds.core.DatasetBuilder) -> float:
    corpus = open_directory(str(builder.data_path), list(builder.info.splits))
    loading = pipeline.LoaderConfig(batch_size=16, image_size=256, threads=1)
    batches = pipeline.train_batches(
        corpus,
        np.arange(len(corpus)),
        loading,
        steps_per_epoch=len(corpus) // 16,
        seed=0,
        shard=pipeline.ProcessShard(),
    )
    next(batches)
    begin, count = time.process_time(), 2 * len(corpus) // 16
    for _ in itertools.islice(batches, count):
        pass
    return count * 16 / (time.process_time() - begin)


def table(seconds: dict[str, float], rates: dict[str, float]) -> str:
    """Format both results."""
    laps = ", ".join(f"{name} {lap:.1f}" for name, lap in seconds.items())
    first = sum(seconds.values()) - seconds["second image"]
    return (
        f"cold start to the first prediction: {first:.1f} s ({laps})\n"
        f"faces of 256x256 per second and core: {rates['rendered']:.0f} rendered, {rates['loaded']:.0f} loaded"
    )
