"""The network as a chain of small stages, each with parameters of its own: what `fgnet_jax.train.two_pass` goes back through.

Together they are `fgnet.FGNet.__call__`. What a later stage needs of an earlier one is handed on through those between.
"""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import jax

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.fgnet import Arrays, FGNet, Variables
from fgnet_jax.models.interpreter import Interpreter


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of the network.

    Attributes:
      prefixes: Of the paths of its parameters.
      call: What it makes, inside the module, of what the stage before it made; with a key for dropout, or None.
    """

    prefixes: tuple[str, ...]
    call: Callable[[FGNet, Any, jax.Array | None], Any]

    def owns(self, path: str) -> bool:
        """Whether the parameter of this path is the stage's."""
        return path.startswith(self.prefixes)


def stages(config: ModelConfig, train: Collection[str]) -> list[Stage]:
    """The stages from images (N, S, S, 3) in [-1, 1] to heatmaps; BatchNorm uses the batch in the parts in `train`."""
    interpreter = _interpreter if config.interpreter == "pyramid" else _pixels
    return [*_encoder(config, "encoder" in train), *_generator(config), *interpreter(config, "interpreter" in train)]


def run(
    config: ModelConfig, stage: Stage, variables: Variables, x: Any, dropout_key: jax.Array | None
) -> tuple[Any, Arrays]:
    """What a stage makes of x, and the running statistics as it moved them."""
    model = fgnet.merge(config, variables)
    return stage.call(model, x, dropout_key), fgnet.split(model).batch_stats


def _encoder(config: ModelConfig, train: bool) -> list[Stage]:
    """Images to codes: the body and the maps that it leaves, then the maps and the codes so far."""
    units = [
        Stage((f"encoder/body/{i}/",), lambda model, x, _, i=i: model.encoder.unit(i, x[0], x[1], train))
        for i in range(sum(config.encoder_units))
    ]
    return [
        Stage(("encoder/input_",), lambda model, images, _: (model.encoder.entry(images, train), ())),
        *units,
        Stage(("encoder/lateral",), lambda model, x, _: (model.encoder.summed(x[1]), ())),
        *(_style(style, config) for style in range(config.num_layers)),
    ]


def _style(style: int, config: ModelConfig) -> Stage:
    # The last block, whose code only the last ToRGB would read, goes with the one before it: its gradient is zero.
    own = (style, style + 1) if style + 1 == config.num_layers else (style,)

    def call(model: FGNet, x: Any, _: jax.Array | None) -> Any:
        maps, codes = x
        return maps, (*codes, model.encoder.code(style, maps))

    return Stage(tuple(f"encoder/styles/{each}/" for each in own), call)


def _generator(config: ModelConfig) -> list[Stage]:
    """Maps and codes to features: w, the last map, and the features so far."""

    def mapping(model: FGNet, x: Any, _: jax.Array | None) -> jax.Array:
        return model.w(model.encoder.joined(x[1]))

    def resolution(model: FGNet, x: Any, k: int) -> Any:
        w, last, features = x
        for layer in (k, k + 1):
            last, features = model.generator.layer(layer, last, w, features, config.heatmap_size)
        return w, last, features

    resolutions = [
        Stage((f"generator/convs/{k}/", f"generator/convs/{k + 1}/"), lambda model, x, _, k=k: resolution(model, x, k))
        for k in range(1, config.num_layers, 2)
    ]
    return [
        Stage(("generator/mapping/",), mapping),
        Stage(("generator/constant", "generator/convs/0/"), lambda model, w, _: (w, *model.generator.start(w))),
        *resolutions,
    ]


def _interpreter(config: ModelConfig, train: bool) -> list[Stage]:
    """Features to heatmaps: what the last stage made, and the features that are still to be added."""

    def stage(model: FGNet, x: Any, key: jax.Array | None, i: int) -> Any:
        last, features = x
        return _pyramid(model).stage(i, last, features[:1], train, key), features[1:]

    count = len(config.generator_channels)
    return [
        Stage((), lambda model, x, _: (x[2][0], x[2][1:])),
        *(
            Stage((f"interpreter/stages/{i}/",), lambda model, x, key, i=i: stage(model, x, key, i))
            for i in range(count)
        ),
        Stage(("interpreter/output/",), lambda model, x, _: _pyramid(model).finish(x[0])),
    ]


def _pyramid(model: FGNet) -> Interpreter:
    assert isinstance(model.interpreter, Interpreter)
    return model.interpreter


def _pixels(config: ModelConfig, train: bool) -> list[Stage]:
    return [Stage(("interpreter/",), lambda model, x, key: model.interpreter(list(x[2]), train, key))]
