"""The parts of each published file: which are converted, and by which table."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from convert_weights import nvidia, nvidia_rules, rules
from convert_weights.engine import Group
from convert_weights.errors import ConversionError
from convert_weights.files import PICKLE, Contents
from convert_weights.records import Pickled
from convert_weights.rules import EXTRAS, Rule
from convert_weights.tensors import Tensor
from fgnet_jax.models.config import ModelConfig

RuleTable = Callable[[ModelConfig], tuple[Rule, ...]]
"""Returns the rules for a network's sizes."""

LATENT_AVG = "encoder/latent_avg"
FGNET_PARTS: dict[str, RuleTable] = {
    "interpreter": rules.interpreter,
    "g_all": rules.generator,
    "pspencoder": rules.encoder,
}
"""State dicts of FG-Net's `model.pth`, and their tables."""

_GENERATOR_EXTRAS = {
    "latent_avg": "the average w",
    "g": "the generator without averaging",
    "d": "the discriminator",
    "g_optim": "an optimiser's state",
    "d_optim": "an optimiser's state",
    "args": "training settings",
    "ada_aug_p": "a training setting",
}
_PSP_EXTRAS = {"opts": "training settings"}


def generator(contents: Contents, config: ModelConfig) -> Group:
    """Return StyleGAN2's generator in rosinality's file, or in either of NVIDIA's.

    Raises:
      ConversionError: if the file is none of them.
    """
    if contents.kind == PICKLE:
        return _nvidia_generator(contents, config)
    parts = _parts(contents, "--generator", required=("g_ema",), extras=_GENERATOR_EXTRAS)
    notes = _notes(parts, _GENERATOR_EXTRAS)
    return _group(contents, "g_ema", parts["g_ema"], table=rules.generator(config), notes=notes)


def encoder(contents: Contents, config: ModelConfig) -> list[Group]:
    """Return pSp's encoder and its average latent.

    Raises:
      ConversionError: if the file is not pSp's.
    """
    parts = _parts(contents, "--encoder", required=("state_dict", "latent_avg"), extras=_PSP_EXTRAS)
    states = _split(parts["state_dict"])
    notes = _notes(parts, _PSP_EXTRAS)
    if states["decoder."]:
        notes.append(f"{len(states['decoder.'])} ignored: pSp's own generator (decoder.)")
    group = _group(contents, "state_dict", states["encoder."], table=rules.encoder(config), notes=notes)
    unknown = [f"{str(name)[:80]}: unknown" for name in states[""]]
    return [dataclasses.replace(group, problems=[*group.problems, *unknown]), _latent_avg(contents, parts)]


def latent_avg(contents: Contents) -> Group:
    """Return the average latent alone in pSp's file.

    Raises:
      ConversionError: if the file is not pSp's.
    """
    parts = _parts(contents, "--encoder", required=("state_dict", "latent_avg"), extras=_PSP_EXTRAS)
    count = len(parts["state_dict"]) if isinstance(parts["state_dict"], Mapping) else 0
    ignored = f"{count} tensors of state_dict ignored: the encoder from before FG-Net's training"
    return dataclasses.replace(_latent_avg(contents, parts), notes=[ignored])


def fgnet(contents: Contents, config: ModelConfig) -> list[Group]:
    """Return the three networks in FG-Net's `model.pth`.

    Raises:
      ConversionError: if the file is not FG-Net's.
    """
    parts = _parts(contents, "--fgnet", required=tuple(FGNET_PARTS), extras={})
    return [_group(contents, name, parts[name], table=table(config)) for name, table in FGNET_PARTS.items()]


def _nvidia_generator(contents: Contents, config: ModelConfig) -> Group:
    try:
        if nvidia.is_tf(contents.value):
            network = nvidia.tf_tensors(contents.value)
            name, table, extras = "Gs", nvidia_rules.tf_generator, nvidia_rules.TF_EXTRAS
        elif nvidia.is_torch(contents.value):
            network = nvidia.torch_tensors(contents.value)
            name, table, extras = "G_ema", nvidia_rules.torch_generator, nvidia_rules.TORCH_EXTRAS
        else:
            raise ConversionError("it is a pickle of plain data, neither a PyTorch file nor NVIDIA's networks")
    except ConversionError as error:
        raise ConversionError(f"{contents.path}: {error}") from None
    return Group(
        name=f"{contents.path.name}: {name}",
        tensors=network.tensors,
        rules=table(config),
        extras=extras,
        problems=network.problems,
        notes=network.notes,
    )


def _parts(
    contents: Contents, option: str, *, required: tuple[str, ...], extras: Mapping[str, str]
) -> dict[str, Pickled]:
    """Return the top level of a PyTorch file, checked to have the required entries and no unknown ones."""
    value = contents.value
    if contents.kind == PICKLE or not isinstance(value, dict):
        raise ConversionError(f"{contents.path} is not what {option} takes: a PyTorch file with {', '.join(required)}")
    names = [str(name)[:40] for name in value]
    missing = [name for name in required if name not in value]
    if missing:
        entries = ", ".join(names[:20]) or "nothing"
        raise ConversionError(
            f"{contents.path} is not what {option} takes: it lacks {', '.join(missing)}; it has {entries}"
        )
    unknown = [name for name in names if name not in (*required, *extras)]
    if unknown:
        raise ConversionError(f"{contents.path} has unknown entries: {', '.join(unknown)}")
    return value


def _notes(parts: Mapping[str, Pickled], extras: Mapping[str, str]) -> list[str]:
    return [f"{name} ignored: {meaning}" for name, meaning in extras.items() if name in parts]


def _group(
    contents: Contents, part: str, state: Pickled, *, table: tuple[Rule, ...], notes: Sequence[str] = ()
) -> Group:
    """Return the group of a state dict and a table."""
    tensors, problems = _state_dict(state)
    prefixed = isinstance(state, dict) and any(str(name).startswith("module.") for name in state)
    return Group(
        name=f"{contents.path.name}: {part}",
        tensors=tensors,
        rules=table,
        extras=EXTRAS,
        problems=problems,
        notes=[*notes, *["the prefix module. was removed from its names"] * prefixed],
    )


def _state_dict(state: Pickled) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of a state dict without the prefix `module.`, and its errors."""
    if not isinstance(state, dict):
        return {}, [f"is a {type(state).__name__}, not a state dict"]
    tensors: dict[str, Tensor] = {}
    problems = []
    for name, tensor in state.items():
        short = str(name)[:200].removeprefix("module.")
        if not isinstance(tensor, Tensor):
            problems.append(f"{short}: is a {type(tensor).__name__}, not a tensor")
        elif short in tensors:
            problems.append(f"{short}: used twice, with the prefix module. and without it")
        else:
            tensors[short] = tensor
    return tensors, problems


def _split(state: Pickled) -> dict[str, dict[str, Pickled]]:
    """Split pSp's state dict into its parts, a `module.` before a part moved behind it; under "" all other entries."""
    parts: dict[str, dict[str, Pickled]] = {"encoder.": {}, "decoder.": {}, "": {}}
    for name, value in state.items() if isinstance(state, dict) else [("state_dict", state)]:
        full = str(name)
        short = full.removeprefix("module.")
        prefix = next(prefix for prefix in parts if short.startswith(prefix))
        outer = "module." if short != full and prefix else ""
        parts[prefix][outer + short.removeprefix(prefix)] = value
    return parts


def _latent_avg(contents: Contents, parts: Mapping[str, Pickled]) -> Group:
    value = parts["latent_avg"]
    tensors = {"latent_avg": value} if isinstance(value, Tensor) else {}
    problems = [] if tensors else [f"is a {type(value).__name__}, not a tensor"]
    rule = Rule("latent_avg", LATENT_AVG, rules.SAME)
    return Group(name=f"{contents.path.name}: latent_avg", tensors=tensors, rules=(rule,), problems=problems)
