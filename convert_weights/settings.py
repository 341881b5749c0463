"""Entries of files besides their networks: which are known and ignored, and options that change what tensors mean."""

from collections.abc import Iterable, Iterator, Mapping

from convert_weights.allowed import NAMESPACE
from convert_weights.errors import ConversionError
from convert_weights.records import Pickled, Record, Skipped
from convert_weights.unpickle import Machine
from convert_weights.untrusted import listed, same, shown
from fgnet_jax.models.config import ModelConfig

_HOLDERS = (list, tuple, dict, set, frozenset, Record, Skipped)
_OPTIMIZER = "an optimiser's state"
_PROGRESS = "the state of the training"
SETTINGS: dict[str, str] = {
    **dict.fromkeys(("opts", "args", "config", "hparams", "hyper_parameters"), "training settings"),
    **dict.fromkeys(("ada_aug_p", "training_set_kwargs"), "a training setting"),
    **dict.fromkeys(
        ("optimizer", "optimizer_state_dict", "optimizer_states", "optim", "g_optim", "d_optim"), _OPTIMIZER
    ),
    **dict.fromkeys(("encoder_optimizer", "discriminator_optimizer", "discriminator_optimizer_state_dict"), _OPTIMIZER),
    **dict.fromkeys(("scheduler", "scheduler_state_dict", "lr_scheduler", "lr_schedulers", "scaler", "amp"), _PROGRESS),
    **dict.fromkeys(("global_step", "step", "iteration", "iter", "epoch", "best_val_loss", "best_score"), _PROGRESS),
    **dict.fromkeys(("rng_state", "cuda_rng_state", "loss", "metrics", "callbacks", "current_wp"), _PROGRESS),
    "discriminator_state_dict": "a discriminator",
}
"""Entries of a training state that no weights are taken from, and what they are."""


def options(config: ModelConfig) -> dict[str, str | bool | int]:
    """Return pSp's options that change what an encoder's tensors mean, with the values of its `ffhq_encode`.

    Args:
      config: Sizes of the network; the published ones give the published `output_size`.
    """
    return {
        "encoder_type": "GradualStyleEncoder",
        "start_from_latent_avg": True,
        "learn_in_w": False,
        "output_size": 4 << (len(config.generator_channels) - 1),
        "input_nc": 3,
        "label_nc": 0,
    }


def differences(opts: Pickled, config: ModelConfig) -> list[str]:
    """List the options in pSp's `opts` that make the file another network's; absent ones are those of pSp."""
    values = _options(opts)
    if values is None:
        return [f"opts: is {shown(opts)}, expected a dictionary or a Namespace of options"]
    return [
        f"opts: {name} is {shown(values[name])}, expected {expected}: another network than pSp's encoder of FFHQ"
        for name, expected in options(config).items()
        if name in values and not same(values[name], expected)
    ]


def describe(name: str, value: Pickled) -> str:
    """Return an ignored entry as a line for the report, with the classes in it of which nothing was made."""
    classes = sorted({part.name for part in _skipped(value)})
    line = f"{name} ignored: {SETTINGS[name]}"
    return f"{line}; skipped in it, not built: {listed(classes)}" if classes else line


def run(machine: Machine) -> Pickled:
    """Run a pickle, and check that classes that are not known are in its settings only.

    Returns:
      Its value.

    Raises:
      ConversionError: if one is anywhere else, or the pickle is broken.
    """
    value = machine.run()
    if not any(isinstance(name, Skipped) for name in machine.names.values()):
        return value
    networks = {key: part for key, part in value.items() if not _is_setting(key)} if isinstance(value, dict) else value
    part = next(_skipped(networks), None)
    if part is not None:
        raise ConversionError(
            f"the pickle refers to {shown(part.name)}, which is neither a tensor nor a plain container"
        )
    return value


def _is_setting(key: Pickled) -> bool:
    return isinstance(key, str) and key in SETTINGS


def _options(opts: Pickled) -> Mapping | None:
    if isinstance(opts, Record) and opts.name == NAMESPACE:
        opts = opts.state
    if isinstance(opts, Skipped):
        return opts.items
    return {} if opts is None else opts if isinstance(opts, dict) else None


def _skipped(value: Pickled) -> Iterator[Skipped]:
    """Yield everything within a value that was skipped; each container is searched once, however often it is used."""
    todo, visited = [value], set()
    while todo:
        part = todo.pop()
        if isinstance(part, Skipped):
            yield part
        if isinstance(part, _HOLDERS) and id(part) not in visited:
            visited.add(id(part))
            todo.extend(_parts(part))


def _parts(holder: Pickled) -> Iterable[Pickled]:
    if isinstance(holder, dict):
        return [*holder, *holder.values()]
    if isinstance(holder, Record):
        return holder.args, holder.state
    return (holder.items,) if isinstance(holder, Skipped) else holder
