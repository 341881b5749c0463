"""Golden values of the synthetic corpora: what `corpus.RECIPE` stands for, in golden.json.

    python -m tests.data.synthetic.golden

writes them anew, after the recipe was raised. Pixels and landmarks are not the same bits on every machine: the matrix
products of OpenBLAS and the exponential function of NumPy round differently with SSE, AVX2 and AVX-512 (seen: one of a
million values differs by one grey level, landmarks by 3e-5 pixels). So images are pinned by the means of 8 x 8 tiles
per channel.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.data.synthetic import corpus

PATH = Path(__file__).with_name("golden.json")
CORPORA = ("synthetic_bp4d", "synthetic_disfa")
FRAMES, SEED = 4, 296  # the identities of this seed wear all six hair styles
TILES = 8


def tile_means(images: np.ndarray) -> np.ndarray:
    """Compute the mean grey level of each tile, (N, TILES, TILES, 3), of images (N, H, W, 3)."""
    count, height, width, channels = images.shape
    tiles = images.reshape(count, TILES, height // TILES, TILES, width // TILES, channels)
    return tiles.mean((2, 4), dtype=np.float64)


def measure(name: str) -> dict[str, Any]:
    """Render a few frames of a corpus; return their values for golden.json, all frames of the corpus in order."""
    recordings = corpus.recordings(name, FRAMES, seed=SEED)
    images, landmarks, labels = corpus.random_faces(name, FRAMES, seed=SEED)
    jpegs = [jpeg for recording in recordings for jpeg, _ in corpus.encode_frames(recording)]
    return {
        "names": [[recording.subject, recording.sequence] for recording in recordings],
        "labels": labels.tolist(),
        "intensities": np.concatenate([recording.intensities for recording in recordings]).round(4).tolist(),
        "landmarks": landmarks.astype(float).round(3).tolist(),
        "tile_means": tile_means(images).round(3).tolist(),
        "jpeg_bytes": [len(jpeg) for jpeg in jpegs],
    }


def main() -> None:
    """Write golden.json for the code as it is."""
    values = {"recipe": corpus.RECIPE, **{name: measure(name) for name in CORPORA}}
    PATH.write_text(json.dumps(values, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
