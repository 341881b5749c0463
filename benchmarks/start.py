"""Cold start, from an empty process to the first answer; and input, from nothing to drawn faces and on to batches."""

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

took, begin = {}, time.perf_counter()

def lap(name):
    took[name] = time.perf_counter() - begin - sum(took.values())

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
print(json.dumps(took))
"""


def cold(config: ModelConfig) -> dict[str, float]:
    """Seconds of each part of a fresh process' way to its first answers, weights on disk, nothing compiled."""
    with tempfile.TemporaryDirectory() as folder:
        meta = weights.WeightsMeta(aus=CORPUS_AUS["disfa"], corpus="disfa")
        weights.save(f"{folder}/weights", config, fgnet.init(config), meta)
        command = [sys.executable, "-c", _PROGRAM, f"{folder}/weights", str(config.image_size)]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(said)


def input_paces(faces: int) -> dict[str, float]:
    """Faces of 256x256 a second of one core: drawn; and read, decoded and batched by one thread.

    Measured in a worker as corpora are made by, with one BLAS thread: more would spin through the time of other cores.
    """
    [paces] = workers.in_order(_paces, [faces], 1)
    return paces


def _paces(faces: int) -> dict[str, float]:
    plan = recordings("synthetic_bp4d", faces)
    plan[0].render(0)  # tables that are made once
    begin = time.process_time()
    for recording in plan:
        for k in range(len(recording.views)):
            recording.render(k)
    drawn = faces / (time.process_time() - begin)
    with tempfile.TemporaryDirectory() as folder:
        builder = prepare_synthetic("synthetic_bp4d", folder, frames=faces)
        return {"drawn": drawn, "loaded": _loading_pace(builder)}


def _loading_pace(builder: tfds.core.DatasetBuilder) -> float:
    corpus = open_directory(str(builder.data_path), list(builder.info.splits))
    loading = pipeline.LoaderConfig(batch_size=16, image_size=256, threads=1)
    batches = pipeline.train_batches(
        corpus, np.arange(len(corpus)), loading, len(corpus) // 16, 0, pipeline.ProcessShard()
    )
    next(batches)
    begin, count = time.process_time(), 2 * len(corpus) // 16
    for _ in itertools.islice(batches, count):
        pass
    return count * 16 / (time.process_time() - begin)


def table(took: dict[str, float], paces: dict[str, float]) -> str:
    """Both, to read."""
    laps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in took.items())
    first = sum(took.values()) - took["second image"]
    return (
        f"cold start to the first answer: {first:.1f} s ({laps})\n"
        f"faces of 256x256 a second and core: {paces['drawn']:.0f} drawn, {paces['loaded']:.0f} loaded"
    )
