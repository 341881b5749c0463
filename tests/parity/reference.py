"""The reference weights as our variables, and the golden numbers."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from convert_weights import rules
from fgnet_jax.models import weights
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.fgnet import Variables, abstract
from tests.parity import reference_weights

PUBLISHED = ModelConfig()
TABLES = {
    "generator": rules.generator(PUBLISHED),
    "encoder": rules.encoder(PUBLISHED),
    "interpreter": rules.interpreter(PUBLISHED),
}


def golden(name: str) -> dict[str, np.ndarray]:
    """Load the arrays of `golden_{name}.npz`."""
    with np.load(Path(__file__).parent / f"golden_{name}.npz") as file:
        return dict(file)


def variables(salt: str = "A") -> Variables:
    """Create the full-size reference network of this salt."""
    arrays = {"encoder/latent_avg": reference_weights.latent_avg(salt)}
    for module, table in TABLES.items():
        state = reference_weights.state_dict(module, salt)
        arrays |= {rule.path: np.array(rule.layout.from_file(state.pop(rule.source)), order="C") for rule in table}
    shapes = abstract(PUBLISHED)
    groups = (shapes.params, shapes.batch_stats, shapes.buffers)
    return Variables(*({path: arrays[path] for path in group} for group in groups))


def save(folder: Path, aus: Sequence[int], corpus: str) -> Path:
    """Write the reference network as a weights directory; return its folder."""
    # scalars of the reference are arrays of one number
    values = jax.tree.map(lambda x, shape: np.reshape(x, shape.shape), variables(), abstract(PUBLISHED))
    weights.save(folder, PUBLISHED, values, weights.WeightsMeta(model={}, aus=tuple(aus), corpus=corpus))
    return folder


def published_names() -> dict[str, str]:
    """Return paths in our network by the golden files' names, such as "generator/style.1.weight"."""
    return {f"{module}/{rule.source}": rule.path for module, table in TABLES.items() for rule in table}


def sample(values: np.ndarray, stride: int, count: int) -> np.ndarray:
    """Sample NHWC maps as golden files do: every stride-th number in PyTorch's NCHW order."""
    return np.asarray(values).transpose(0, 3, 1, 2).ravel()[::stride][:count]
