"""Configurations of the networks: FG-Net's, whose defaults are the published sizes, and its student's."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

COARSE_STYLES = 3
"""Style blocks that read the encoder's smallest map (pSp's `coarse_ind`)."""

MIDDLE_STYLES = 7
"""Style blocks before the fine ones, the coarse ones included (pSp's `middle_ind`)."""

DTYPES = ("float32", "bfloat16")
"""Number formats that networks are trained and used in. float32 is exact on every device: no TF32 on GPUs and no single
pass of bfloat16 on TPUs, unless a configuration names a lower precision."""

PRECISIONS = ("default", "high", "highest")
"""Precisions of float32 products, by their names in JAX."""

BLOCKS = ("residual", "partial", "inverted")
"""Kinds of blocks that a student may be made of (`StudentConfig.block`)."""

STUDENT = "student"
"""Value of "network" in the stored configuration of a student; FG-Net's has no such key."""

STUDENT_STRIDE = 4
"""Pixels of the face, along a side, for each pixel of a student's heatmaps."""

REMATS = ("none", "blocks")
"""Policies of rematerialisation (gradient checkpointing), by how much is recomputed."""

REMOVED_REMAT = "twice"
"""A policy of former versions, which weights that were trained with it still name."""


def without_removed_remat(model: dict[str, Any]) -> dict[str, Any]:
    """Return stored settings of a network with a policy that there still is; its forward pass is the same bits."""
    return model | {"remat": "blocks"} if model.get("remat") == REMOVED_REMAT else model


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes and number formats of an FG-Net. Frozen and hashable, so it can be a static argument of `jax.jit`.

    Attributes:
      image_size: Side of the aligned face in pixels, a power of two.
      encoder_channels: Widths of the encoder's groups of residual units; each group halves the side.
      encoder_units: Residual units per group.
      style_dim: Width of codes, w and style blocks.
      mapping_layers: Layers of the generator's mapping network.
      generator_channels: Width of synthesis at 4x4, 8x8, ...: one per feature map.
      heatmap_size: Side of the heatmaps; larger features are shrunk to it.
      num_heatmaps: Output channels of the interpreter; those beyond the corpus' AUs are not used.
      interpreter: "pyramid" (FG-Net), or "pixel" (DatasetGAN's, a baseline).
      dropout: Probability of the interpreter's dropout in training.
      map_codes: Whether codes go through the mapping network (FG-Net) or are w already (pSp's own use).
      dtype: Number format of computation, one of `DTYPES`; in tests also "float64", which shows exactness and needs
        JAX's x64 mode and parameters in float64.
      param_dtype: Number format of parameters.
      precision: Precision of float32 products: "highest" is float32's own; with "high" and "default" GPUs multiply in
        TF32 and TPUs in one or three parts of bfloat16, several times as fast. On CPUs all are the same.
      remat: What the backward pass recomputes to save memory: "none", or "blocks", the forward pass of every encoder
        unit, style block, synthesis layer and interpreter stage.
    """

    image_size: int = 256
    encoder_channels: tuple[int, ...] = (64, 128, 256, 512)
    encoder_units: tuple[int, ...] = (3, 4, 14, 3)
    style_dim: int = 512
    mapping_layers: int = 8
    generator_channels: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128, 64, 32)
    heatmap_size: int = 128
    num_heatmaps: int = 32
    interpreter: str = "pyramid"
    dropout: float = 0.1
    map_codes: bool = True
    dtype: str = "float32"
    param_dtype: str = "float32"
    precision: str = "highest"
    remat: str = "none"

    def __post_init__(self):
        for name in ("encoder_channels", "encoder_units", "generator_channels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.encoder_channels) != len(self.encoder_units) or len(self.encoder_units) < 3:
            raise ValueError("encoder_channels and encoder_units need one entry per group, and three groups at least")
        for name in ("image_size", "heatmap_size"):
            if not math.log2(getattr(self, name)).is_integer():
                raise ValueError(f"{name} must be a power of two, got {getattr(self, name)}")
        if self.image_size >> len(self.encoder_units) < 2:
            raise ValueError(f"image_size {self.image_size} leaves nothing after {len(self.encoder_units)} halvings")
        if self.num_styles < MIDDLE_STYLES + 1:
            raise ValueError("generator_channels needs four entries (a 32x32 generator) at least")
        if self.interpreter not in ("pyramid", "pixel"):
            raise ValueError(f'interpreter must be "pyramid" or "pixel", got {self.interpreter!r}')
        _check_precision(self.precision)
        if self.remat == REMOVED_REMAT:
            raise ValueError(
                f'remat "{self.remat}" was removed: use "blocks", and train.accumulate to save more memory'
            )
        if self.remat not in REMATS:
            raise ValueError(f"remat must be one of {', '.join(REMATS)}, got {self.remat!r}")

    @property
    def matmul_precision(self) -> str:
        """Value of `jax.default_matmul_precision` for the network: bfloat16 gains nothing from a higher one."""
        return _matmul_precision(self.dtype, self.precision)

    @property
    def is_small(self) -> bool:
        """Whether it is a student: CPUs compute its small maps with other kernels."""
        return False

    @property
    def generator_size(self) -> int:
        """Side of the generated image."""
        return 4 << (len(self.generator_channels) - 1)

    @property
    def num_styles(self) -> int:
        """Number of codes (and of vectors w): two per resolution, 18 at 1024."""
        return 2 * len(self.generator_channels)

    @property
    def num_layers(self) -> int:
        """Number of styled convolutions of synthesis: one at 4x4, two per resolution after it, 17 at 1024."""
        return self.num_styles - 1

    def style_side(self, style: int) -> int:
        """Return the side of the encoder's map that style block `style` reads."""
        smallest = self.image_size >> len(self.encoder_units)
        return smallest << ((style >= COARSE_STYLES) + (style >= MIDDLE_STYLES))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Create the configuration from what `to_dict` returned.

        Raises:
          ValueError: for a key that is not a field, and for sizes that fit no network.
        """
        _check_keys(cls, values)
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class StudentConfig:
    """Sizes and number formats of a student: a small network that has learnt FG-Net's heatmaps.

    Frozen and hashable, so it can be a static argument of `jax.jit`.

    Attributes:
      image_size: Side of the aligned face in pixels, a power of two; heatmaps are computed at a quarter of it.
      channels: Widths at a quarter, an eighth and a sixteenth of the face's side.
      units: Blocks at each of these sides.
      block: Kind of the blocks: "residual", two 3x3 convolutions (ResNet's); "partial", a 3x3 convolution of a quarter
        of the channels and two 1x1 convolutions of all (FasterNet's); "inverted", a depthwise convolution between two
        1x1 convolutions (MobileNetV2's).
      decoder: Width of the maps that the three sides are joined in.
      heatmap_size: Side of the heatmaps; beyond a quarter of `image_size` they are enlarged.
      num_heatmaps: Heatmaps, one per AU.
      dtype: Number format of computation, as in `ModelConfig`.
      param_dtype: Number format of parameters.
      precision: Precision of float32 products, as in `ModelConfig`.
    """

    image_size: int = 128
    channels: tuple[int, ...] = (32, 64, 128)
    units: tuple[int, ...] = (2, 3, 3)
    block: str = "residual"
    decoder: int = 48
    heatmap_size: int = 32
    num_heatmaps: int = 12
    dtype: str = "float32"
    param_dtype: str = "float32"
    precision: str = "highest"

    def __post_init__(self):
        for name in ("channels", "units"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.channels) != 3 or len(self.units) != 3:
            raise ValueError("channels and units need one entry for each of three sides")
        for name in ("image_size", "heatmap_size"):
            if not math.log2(getattr(self, name)).is_integer():
                raise ValueError(f"{name} must be a power of two, got {getattr(self, name)}")
        if self.image_size < 32 or self.heatmap_size < self.map_size:
            raise ValueError(
                f"image_size must be at least 32, and heatmap_size at least a quarter of it, "
                f"got {self.image_size} and {self.heatmap_size}"
            )
        if self.block not in BLOCKS:
            raise ValueError(f"block must be one of {', '.join(BLOCKS)}, got {self.block!r}")
        _check_precision(self.precision)

    @property
    def map_size(self) -> int:
        """Side that heatmaps are computed at."""
        return self.image_size // STUDENT_STRIDE

    @property
    def is_small(self) -> bool:
        """Whether it is a student: CPUs compute its small maps with other kernels."""
        return True

    @property
    def matmul_precision(self) -> str:
        """Value of `jax.default_matmul_precision` for the network."""
        return _matmul_precision(self.dtype, self.precision)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON, with the kind of network."""
        return {"network": STUDENT} | _plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "StudentConfig":
        """Create the configuration from what `to_dict` returned.

        Raises:
          ValueError: for a key that is not a field, and for sizes that fit no network.
        """
        fields = {name: value for name, value in values.items() if name != "network"}
        _check_keys(cls, fields)
        return cls(**fields)


NetworkConfig = ModelConfig | StudentConfig
"""The configuration of any network that detects AUs."""


def network_config(values: Mapping[str, Any]) -> NetworkConfig:
    """Create a configuration from what its `to_dict` returned, of whichever network it is.

    Raises:
      ValueError: There is no such kind of network, or it has an unknown key or sizes that fit no network.
    """
    kind = values.get("network")
    if kind not in (None, STUDENT):
        raise ValueError(f"network must be {STUDENT!r}, or absent for FG-Net, got {kind!r}")
    return StudentConfig.from_dict(values) if kind == STUDENT else ModelConfig.from_dict(values)


def _check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")


def _matmul_precision(dtype: str, precision: str) -> str:
    return precision if dtype == "float32" else "default"


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


def _check_keys(kind: type, values: Mapping[str, Any]) -> None:
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(kind)})
    if unknown:
        raise ValueError(f"model configuration has unknown keys: {', '.join(unknown)}")


TINY = ModelConfig(
    image_size=64,
    encoder_channels=(16, 16, 32, 32),
    encoder_units=(1, 1, 2, 1),
    style_dim=32,
    mapping_layers=2,
    generator_channels=(32, 32, 16, 16, 8),
    heatmap_size=16,
    num_heatmaps=16,
)
"""The same architecture, small enough to build and run in a second: for tests."""

TINY_STUDENT = StudentConfig(image_size=32, channels=(8, 16, 16), units=(1, 1, 1), decoder=8, heatmap_size=8)
"""The student's architecture, small enough to build and run in a second: for tests."""
