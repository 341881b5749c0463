"""The parts of each published file: which are converted, and by which table."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from convert_weights import nvidia, nvidia_rules, rules, settings
from convert_weights.engine import Group
from convert_weights.errors import ConversionError
from convert_weights.files import PICKLE, Contents
from convert_weights.records import Pickled
from convert_weights.rules import EXTRAS, Rule
from convert_weights.settings import SETTINGS
from convert_weights.tensors import Tensor
from convert_weights.untrusted import listed, shown
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
}
_PSP_EXTRAS = {"latent_avg": "the average latent"}
_AVERAGES = ("dlatent_avg", "mapping.w_avg")
"""NVIDIA's names of a generator's average w, whose name in rosinality's file is `latent_avg`."""

WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before the names of whatever they wrap."""

MAX_TENSORS, MAX_NAME = 10_000, 200


def pretrained(first: Contents, second: Contents, config: ModelConfig) -> list[Group]:
    """Return a generator and pSp's encoder with an average latent, the generator's own where pSp's file has none.

    Args:
      first: The generator's file.
      second: pSp's file.
      config: Sizes of the network.

    Raises:
      ConversionError: if a file is not what it should be, or neither has an average latent.
    """
    groups = [generator(first, config), *encoder(second, config)]
    if any(rule.path == LATENT_AVG for group in groups for rule in group.rules):
        return groups
    return [*_own_average(groups[0], first, config), *groups[1:]]


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
    """Return pSp's encoder and its average latent, if it has one.

    Raises:
      ConversionError: if the file is not pSp's.
    """
    parts = _parts(contents, "--encoder", required=("state_dict",), extras=_PSP_EXTRAS)
    states = _split(parts["state_dict"])
    notes = _notes(parts)
    if states["decoder."]:
        notes.append(f"{len(states['decoder.'])} ignored: pSp's own generator (decoder.)")
    group = _group(
        contents, "state_dict", states["encoder."], table=rules.encoder(config), prefix="encoder.", notes=notes
    )
    unknown = [f"{shown(name)}: unknown" for name in states[""]]
    problems = [*settings.differences(parts.get("opts"), config), *group.problems, *unknown]
    average = parts.get("latent_avg")
    averages = [] if average is None else [_latent_avg(contents, average, config)]
    return [dataclasses.replace(group, problems=problems), *averages]


def latent_avg(contents: Contents, config: ModelConfig) -> Group:
    """Return the average latent alone in pSp's file.

    Raises:
      ConversionError: if the file is not pSp's, or has none.
    """
    parts = _parts(contents, "--encoder", required=("state_dict", "latent_avg"), extras=_PSP_EXTRAS)
    count = len(parts["state_dict"]) if isinstance(parts["state_dict"], Mapping) else 0
    ignored = f"{count} tensors of state_dict ignored: the encoder from before FG-Net's training"
    group = _latent_avg(contents, parts["latent_avg"], config)
    problems = [*settings.differences(parts.get("opts"), config), *group.problems]
    return dataclasses.replace(group, problems=problems, notes=[*group.notes, ignored, *_notes(parts)])


def fgnet(contents: Contents, config: ModelConfig) -> list[Group]:
    """Return the three networks in FG-Net's `model.pth`.

    Raises:
      ConversionError: if the file is not FG-Net's.
    """
    parts = _parts(contents, "--fgnet", required=tuple(FGNET_PARTS), extras={})
    groups = [_group(contents, name, parts[name], table=table(config)) for name, table in FGNET_PARTS.items()]
    return [dataclasses.replace(groups[0], notes=[*groups[0].notes, *_notes(parts)]), *groups[1:]]


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
    missing = [name for name in required if name not in value]
    if missing:
        raise ConversionError(
            f"{contents.path} is not what {option} takes: it lacks {', '.join(missing)}; "
            f"it has {listed(value) or 'nothing'}"
        )
    known = {*required, *extras, *SETTINGS}
    unknown = [name for name in value if name not in known]
    if unknown:
        raise ConversionError(f"{contents.path} has unknown entries: {listed(unknown)}")
    return value


def _notes(parts: Mapping[str, Pickled], extras: Mapping[str, str] | None = None) -> list[str]:
    """Return the entries that are ignored, in lines for the report."""
    ignored = [f"{name} ignored: {meaning}" for name, meaning in (extras or {}).items() if name in parts]
    return [*ignored, *(settings.describe(name, parts[name]) for name in SETTINGS if name in parts)]


def _group(
    contents: Contents,
    part: str,
    state: Pickled,
    *,
    table: tuple[Rule, ...],
    prefix: str = "",
    notes: Sequence[str] = (),
) -> Group:
    """Return the group of a state dict and a table, which has the names without a prefix."""
    tensors, problems = _state_dict(state, prefix)
    return Group(
        name=f"{contents.path.name}: {part}",
        tensors=tensors,
        rules=table,
        extras=EXTRAS,
        problems=problems,
        notes=[*notes, *_wrapper_note(state)],
    )


def _state_dict(state: Pickled, prefix: str) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of a state dict without a prefix and the wrappers' ones, and its errors."""
    if not isinstance(state, dict):
        return {}, [f"is a {type(state).__name__}, not a state dict"]
    if len(state) > MAX_TENSORS:
        return {}, [f"has {len(state):,} entries, far more than any network: {listed(state)}"]
    tensors: dict[str, Tensor] = {}
    problems = []
    for name, tensor in state.items():
        short = _unwrapped(name).removeprefix(prefix)
        if not isinstance(name, str) or len(short) > MAX_NAME:
            problems.append(f"{shown(name)}: is no name of a tensor")
        elif not isinstance(tensor, Tensor):
            problems.append(f"{shown(short)}: is a {type(tensor).__name__}, not a tensor")
        elif short in tensors:
            problems.append(f"{shown(short)}: used twice, with a prefix such as module. and without it")
        else:
            tensors[short] = tensor
    return tensors, problems


def _unwrapped(name: Pickled) -> str:
    """Return a tensor's name without the parts that DataParallel and torch.compile put into it, wherever they are."""
    parts = name.split(".") if isinstance(name, str) and len(name) <= 2 * MAX_NAME else ["x" * (MAX_NAME + 1)]
    return ".".join(part for part in parts if f"{part}." not in WRAPPERS)


def _wrapper_note(state: Pickled) -> list[str]:
    is_small = isinstance(state, dict) and len(state) <= MAX_TENSORS
    names = [f".{name}" for name in state if isinstance(name, str)] if is_small else []
    removed = [wrapper for wrapper in WRAPPERS if any(f".{wrapper}" in name for name in names)]
    return [f"the prefix {' and '.join(removed)} was removed from its names"] * bool(removed)


def _split(state: Pickled) -> dict[str, dict[str, Pickled]]:
    """Split pSp's state dict into its parts, under their full names; under "" all other entries."""
    parts: dict[str, dict[str, Pickled]] = {"encoder.": {}, "decoder.": {}, "": {}}
    if isinstance(state, dict) and len(state) > MAX_TENSORS:
        return parts | {"encoder.": state}
    for name, value in state.items() if isinstance(state, dict) else [("state_dict", state)]:
        part = next(part for part in parts if _unwrapped(name).startswith(part))
        parts[part][name] = value
    return parts


def _latent_avg(contents: Contents, value: Pickled, config: ModelConfig) -> Group:
    """Return the average latent of every style; a single one, of shape (1, style_dim), is that of all styles."""
    tensors = {"latent_avg": value} if isinstance(value, Tensor) else {}
    problems = [] if tensors else [f"is a {type(value).__name__}, not a tensor"]
    notes = []
    if isinstance(value, Tensor) and value.shape == (1, config.style_dim):
        tensors["latent_avg"] = _repeated(value, config)
        notes = [f"its one latent is repeated for all {config.num_styles} styles"]
    rule = Rule("latent_avg", LATENT_AVG, rules.SAME)
    name = f"{contents.path.name}: latent_avg"
    return Group(name=name, tensors=tensors, rules=(rule,), problems=problems, notes=notes)


def _repeated(latent: Tensor, config: ModelConfig) -> Tensor:
    return dataclasses.replace(latent, shape=(config.num_styles, config.style_dim), strides=(0, latent.strides[-1]))


def _own_average(group: Group, contents: Contents, config: ModelConfig) -> tuple[Group, Group]:
    """Return a generator's group without its average w, and the group of that average, for all styles.

    Raises:
      ConversionError: if the file has none.
    """
    name, tensors = next((name for name in _AVERAGES if name in group.tensors), "latent_avg"), dict(group.tensors)
    in_entry = contents.value.get("latent_avg") if isinstance(contents.value, dict) else None
    value = tensors.pop(name, in_entry)
    if not isinstance(value, Tensor) or value.shape not in ((config.style_dim,), (1, config.style_dim)):
        raise ConversionError(
            f"--encoder has no average latent (latent_avg), and neither has {contents.path}; "
            "use pSp's published psp_ffhq_encode.pt, or a generator's file with its average w"
        )
    average = _latent_avg(contents, _repeated(value, config), config)
    note = f"--encoder has none: the generator's own average w ({name}) is taken for all {config.num_styles} styles"
    notes = [line for line in group.notes if not line.startswith("latent_avg ignored")]
    group = dataclasses.replace(group, tensors=tensors, notes=notes)
    return group, dataclasses.replace(average, notes=[note])
