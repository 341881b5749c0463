"""What lies beside an exported program: its description in JSON, its weights, and the names of these files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgnet_jax import aus as aus_lib
from fgnet_jax.runtime.version import __version__

if TYPE_CHECKING:
    from fgnet_jax.models.fgnet import Arrays
    from fgnet_jax.predict.detector import Detector

SYMBOLIC = "symbolic"
"""Value of `--batch` for batches of any size, known only when the program is called."""

STABLEHLO, ONNX = "stablehlo", "onnx"


def flat(detector: "Detector") -> "Arrays":
    """Return a detector's weights as one dictionary: "params/encoder/body/0/conv1/kernel" to array."""
    from fgnet_jax.models import weights

    groups = weights.groups(detector.variables).items()
    return {f"{group}/{path}": array for group, arrays in groups for path, array in arrays.items()}


def describe(detector: "Detector", batch: int | None, files: dict[str, str]) -> dict[str, Any]:
    """Return the JSON beside a program: its AUs and sizes, its inputs and its outputs.

    Args:
      detector: The network.
      batch: Faces per call; None for any number.
      files: Names of the other files by their kind.
    """
    from fgnet_jax.models import lineage

    config, count = detector.config, len(detector.aus)
    size: int | str = batch or "batch"
    spans = "mean over space of the clipped heatmap, in [-1, 1]; the AU is present where it is above 0"
    maps = "heatmaps clipped to [-1, 1], over the whole face image"
    faces = "RGB faces, 0 to 255, aligned by FFHQ's recipe"
    intensity = None
    if (fitted := detector.calibration) is not None:
        meaning = "an AU's intensity, 0 to 5, is linear in its score between these points, and constant beyond them"
        intensity = {"meaning": meaning} | fitted.to_dict()
    return {
        "files": files,
        "aus": list(detector.aus),
        "names": [aus_lib.NAMES.get(au, "") for au in detector.aus],
        "corpus": detector.meta.corpus,
        "learnt_from": lineage.learnt_from(detector.meta),
        "image_size": config.image_size,
        "heatmap_size": config.heatmap_size,
        "batch": batch or SYMBOLIC,
        "computed_in": config.dtype,
        "inputs": {"images": _array((size, config.image_size, config.image_size, 3), "uint8", faces)},
        "outputs": {
            "scores": _array((size, count), "float32", spans),
            "heatmaps": _array((size, config.heatmap_size, config.heatmap_size, count), "float32", maps),
        },
        "intensity": intensity,
        "sources": list(detector.meta.sources),
        "fgnet_jax": __version__,
    }


def _array(shape: tuple[int | str, ...], dtype: str, meaning: str) -> dict[str, Any]:
    return {"shape": list(shape), "dtype": dtype, "meaning": meaning}


def written_files(output: Path, format: str) -> list[Path]:
    """Return the program's file, the one with its weights, and its JSON.

    Two formats of one name do not meet: model.npz and model.json beside model.stablehlo, model.onnx.data and
    model.onnx.json beside model.onnx.
    """
    if format == ONNX:
        return [output, output.with_name(f"{output.name}.data"), output.with_name(f"{output.name}.json")]
    return [output, output.with_suffix(".npz"), output.with_suffix(".json")]
