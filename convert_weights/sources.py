"""What each file that people have is made of: which of its parts are wanted, and under which table."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from convert_weights import nvidia, nvidia_rules, rules
from convert_weights.engine import Group
from convert_weights.errors import ConversionError
from convert_weights.files import PICKLE, Contents
from convert_weights.rules import EXTRAS, Rule
from convert_weights.tensors import Tensor
from fgnet_jax.models.config import ModelConfig

Table = Callable[[ModelConfig], tuple[Rule, ...]]

LATENT_AVG = "encoder/latent_avg"
FGNET_PARTS: dict[str, Table] = {
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
    """StyleGAN2's generator: rosinality's file, or either of NVIDIA's.

    Raises:
      ConversionError: if the file is none of them.
    """
    if contents.kind == PICKLE:
        return _nvidia_generator(contents, config)
    parts = _parts(contents, "--generator", ("g_ema",), _GENERATOR_EXTRAS)
    notes = _notes(parts, _GENERATOR_EXTRAS)
    return _group(contents, "g_ema", parts["g_ema"], rules.generator(config), notes)


def encoder(contents: Contents, config: ModelConfig) -> list[Group]:
    """pSp's encoder and its average latent.

    Raises:
      ConversionError: if the file is not pSp's.
    """
    parts = _parts(contents, "--encoder", ("state_dict", "latent_avg"), _PSP_EXTRAS)
    states = _split(parts["state_dict"])
    notes = _notes(parts, _PSP_EXTRAS)
    if states["decoder."]:
        notes.append(f"{len(states['decoder.'])} ignored: pSp's own generator (decoder.)")
    group = _group(contents, "state_dict", states["encoder."], rules.encoder(config), notes)
    unknown = [f"{str(name)[:80]}: unknown" for name in states[""]]
    return [dataclasses.replace(group, problems=[*group.problems, *unknown]), _latent_avg(contents, parts)]


def latent_avg(contents: Contents) -> Group:
    """The average latent alone, out of pSp's file.

    Raises:
      ConversionError: if the file is not pSp's.
    """
    parts = _parts(contents, "--encoder", ("state_dict", "latent_avg"), _PSP_EXTRAS)
    count = len(parts["state_dict"]) if isinstance(parts["state_dict"], Mapping) else 0
    note = f"{count} tensors of state_dict ignored: the encoder from before FG-Net's training"
    return dataclasses.replace(_latent_avg(contents, parts), notes=[note])


def fgnet(contents: Contents, config: ModelConfig) -> list[Group]:
    """The three networks of FG-Net's `model.pth`.

    Raises:
      ConversionError: if the file is no such one.
    """
    parts = _parts(contents, "--fgnet", tuple(FGNET_PARTS), {})
    return [_group(contents, name, parts[name], table(config)) for name, table in FGNET_PARTS.items()]


def _nvidia_generator(contents: Contents, config: ModelConfig) -> Group:
    try:
        if nvidia.is_tf(contents.value):
            tensors, problems, notes = nvidia.tf_tensors(contents.value)
            name, table, extras = "Gs", nvidia_rules.tf_generator, nvidia_rules.TF_EXTRAS
        elif nvidia.is_torch(contents.value):
            tensors, problems, notes = nvidia.torch_tensors(contents.value)
            name, table, extras = "G_ema", nvidia_rules.torch_generator, nvidia_rules.TORCH_EXTRAS
        else:
            raise ConversionError("it is a pickle of plain data, neither a PyTorch file nor NVIDIA's networks")
    except ConversionError as error:
        raise ConversionError(f"{contents.path}: {error}") from None
    return Group(f"{contents.path.name}: {name}", tensors, table(config), extras, problems, notes)


def _parts(contents: Contents, option: str, wanted: tuple[str, ...], extras: Mapping[str, str]) -> dict[str, Any]:
    """The top level of a PyTorch file, checked to have what is wanted and nothing unknown."""
    value = contents.value
    if contents.kind == PICKLE or not isinstance(value, dict):
        raise ConversionError(f"{contents.path} is not what {option} takes: a PyTorch file with {', '.join(wanted)}")
    names = [str(name)[:40] for name in value]
    missing = [name for name in wanted if name not in value]
    if missing:
        have = ", ".join(names[:20]) or "nothing"
        raise ConversionError(
            f"{contents.path} is not what {option} takes: it lacks {', '.join(missing)}; it has {have}"
        )
    unknown = [name for name in names if name not in (*wanted, *extras)]
    if unknown:
        raise ConversionError(f"{contents.path} has entries that are not known: {', '.join(unknown)}")
    return value


def _notes(parts: Mapping[str, Any], extras: Mapping[str, str]) -> list[str]:
    return [f"{name} ignored: {meaning}" for name, meaning in extras.items() if name in parts]


def _group(contents: Contents, part: str, state: Any, table: tuple[Rule, ...], notes=()) -> Group:
    tensors, problems = _state_dict(state)
    prefixed = isinstance(state, dict) and any(str(name).startswith("module.") for name in state)
    notes = [*notes, *["the prefix module. was taken off its names"] * prefixed]
    return Group(f"{contents.path.name}: {part}", tensors, table, EXTRAS, problems, notes)


def _state_dict(state: Any) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a state dict without `module.`, and what is wrong with it."""
    if not isinstance(state, dict):
        return {}, [f"is a {type(state).__name__}, no state dict"]
    tensors: dict[str, Tensor] = {}
    problems = []
    for name, tensor in state.items():
        short = str(name)[:200].removeprefix("module.")
        if not isinstance(tensor, Tensor):
            problems.append(f"{short}: is a {type(tensor).__name__}, no tensor")
        elif short in tensors:
            problems.append(f"{short}: used twice, with the prefix module. and without")
        else:
            tensors[short] = tensor
    return tensors, problems


def _split(state: Any) -> dict[str, dict[str, Any]]:
    """pSp's state dict by its parts, a `module.` before a part put behind it; under "" what is of neither."""
    parts: dict[str, dict[str, Any]] = {"encoder.": {}, "decoder.": {}, "": {}}
    for name, value in state.items() if isinstance(state, dict) else [("state_dict", state)]:
        full = str(name)
        short = full.removeprefix("module.")
        prefix = next(prefix for prefix in parts if short.startswith(prefix))
        outer = "module." if short != full and prefix else ""
        parts[prefix][outer + short.removeprefix(prefix)] = value
    return parts


def _latent_avg(contents: Contents, parts: Mapping[str, Any]) -> Group:
    value = parts["latent_avg"]
    tensors = {"latent_avg": value} if isinstance(value, Tensor) else {}
    problems = [] if tensors else [f"is a {type(value).__name__}, no tensor"]
    rule = Rule("latent_avg", LATENT_AVG, rules.SAME)
    return Group(f"{contents.path.name}: latent_avg", tensors, (rule,), problems=problems)
