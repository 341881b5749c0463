"""The network's sizes as the command line names them."""

import json
from pathlib import Path

from convert_weights.errors import ConversionError
from fgnet_jax.models.config import TINY, ModelConfig

PUBLISHED = "published"


def named(name: str) -> ModelConfig:
    """The published sizes ("published"), the tiny ones ("tiny"), or those in a JSON file such as `model.json`.

    Raises:
      ConversionError: if there is no such file, or it holds no sizes.
    """
    if name in (PUBLISHED, "tiny"):
        return ModelConfig() if name == PUBLISHED else TINY
    try:
        values = json.loads(Path(name).read_text())
        return ModelConfig.from_dict(values.get("model", values))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConversionError(f"--config {name}: not published, not tiny, and no JSON file of sizes: {error}") from None
