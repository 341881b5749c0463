"""The network's sizes by their names on the command line."""

import json
from pathlib import Path

from convert_weights.errors import ConversionError
from convert_weights.untrusted import shown
from fgnet_jax.models.config import TINY, ModelConfig

PUBLISHED = "published"


def named(name: str) -> ModelConfig:
    """Return the published sizes ("published"), the tiny ones ("tiny"), or those in a JSON file such as `model.json`.

    Raises:
      ConversionError: if there is no such file, or it does not contain sizes.
    """
    if name in (PUBLISHED, "tiny"):
        return ModelConfig() if name == PUBLISHED else TINY
    try:
        values = json.loads(Path(name).read_text(encoding="utf-8-sig"))
        return ModelConfig.from_dict(values.get("model", values))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = shown(str(error), 200)
        raise ConversionError(f"--config {name}: neither published, tiny, nor a JSON file of sizes: {reason}") from None
