"""StableHLO by jax.export, for any batch and for all platforms in one file."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgnet_jax.export.description import STABLEHLO, describe, flat, written_files
from fgnet_jax.runtime import files

if TYPE_CHECKING:
    import jax
    from jax.export import Exported

    from fgnet_jax.models.fgnet import Arrays, Variables
    from fgnet_jax.predict.detector import Detector

PLATFORMS = {"cpu": "cpu", "cuda": "gpu", "tpu": "tpu"}
"""Platforms that an exported program runs on: `jax.export`'s names, with those of `fgnet_jax.models.ops.platforms`."""


def program(detector: "Detector", batch: int | None = None) -> "Exported":
    """Export the network as a program of (weights, images) for `PLATFORMS`, each with the paths that are fast on it.

    Args:
      detector: The network.
      batch: Faces per call; None for any number.

    Returns:
      A program that takes the weights (`flat`) and uint8 images (batch, S, S, 3), and returns scores (batch, K) in
      [-1, 1] and clipped heatmaps (batch, size, size, K), both float32, as `Detector.predict` does.
    """
    import jax
    from jax import export

    networks = {name: network(detector, platform) for name, platform in PLATFORMS.items()}
    images = image_shape(detector, batch if batch is not None else export.symbolic_shape("batch")[0])
    arrays = {path: jax.ShapeDtypeStruct(array.shape, array.dtype) for path, array in flat(detector).items()}
    # Not this process' platform decides, but the one that the program is compiled for later: one branch for each.
    chosen = jax.jit(lambda arrays, images: jax.lax.platform_dependent(arrays, images, **networks))
    return export.export(chosen, platforms=tuple(PLATFORMS))(arrays, images)


def network(detector: "Detector", platform: str) -> "Callable[[Arrays, jax.Array], tuple[jax.Array, jax.Array]]":
    """Return the detector's function of (flat weights, images), for a platform of `fgnet_jax.models.ops.platforms`."""
    from fgnet_jax.predict.network import forward

    # Without its jit: jax2onnx traces with its own primitives, and they would stay in the jit's cache.
    plain = inspect.unwrap(forward)
    return lambda arrays, images: plain(detector.config, len(detector.aus), platform, _nested(arrays), images)


def image_shape(detector: "Detector", batch: object) -> "jax.ShapeDtypeStruct":
    """Return the shape and dtype of images, for a batch of a number or of a symbolic size."""
    import jax

    side = detector.config.image_size
    return jax.ShapeDtypeStruct((batch, side, side, 3), np.uint8)


def _nested(arrays: "Arrays") -> "Variables":
    """Return the network's variables from the dictionary of `flat`."""
    from fgnet_jax.models.fgnet import Variables

    groups: dict[str, dict[str, Any]] = {"params": {}, "batch_stats": {}, "buffers": {}}
    for name, array in arrays.items():
        group, _, path = name.partition("/")
        groups[group][path] = array
    return Variables(**groups)


def write(detector: "Detector", output: Path, batch: int | None = None) -> list[Path]:
    """Write a program with its weights and its JSON beside it; each file appears whole, the JSON last.

    Args:
      detector: The network.
      output: The program's file; the others have its name, but for the ending.
      batch: Faces per call; None for any number.

    Returns:
      The files.

    Raises:
      OSError: One of them cannot be written.
    """
    import jax

    exported = program(detector, batch)
    paths = output, arrays_file, text_file = written_files(output, STABLEHLO)
    output.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {path: np.asarray(array) for path, array in flat(detector).items()}
    with files.replacing(output) as temporary:
        temporary.write_bytes(exported.serialize())
    with files.replacing(arrays_file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    description = describe(detector, batch, {"stablehlo": output.name, "weights": arrays_file.name})
    description |= {"platforms": list(PLATFORMS), "jax": jax.__version__}
    description["calling_convention"] = exported.calling_convention_version
    files.write_text(text_file, json.dumps(description, indent=2) + "\n")
    return paths
