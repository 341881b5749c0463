"""The generator in NVIDIA's pickles: their network objects as data, never constructed."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from convert_weights.allowed import MODULE, NETWORK, as_tensor
from convert_weights.errors import ConversionError
from convert_weights.records import Pickled, Record
from convert_weights.tensors import Tensor
from convert_weights.untrusted import listed, same, shown

MAX_DEPTH = 16
MAX_NETWORKS = 1000
"""A network has some forty parts; an object that contains itself has endlessly many."""

MAX_TENSORS = 10_000
MAX_NAME = 200

_TF_SETTINGS = {
    "mapping_lrmul": 0.01,
    "mapping_nonlinearity": "lrelu",
    "nonlinearity": "lrelu",
    "architecture": "skip",
    "resample_kernel": [1, 3, 3, 1],
    "normalize_latents": True,
    "use_noise": True,
}
_TORCH_SETTINGS = {
    r"mapping\.fc\d+": {"activation": "lrelu", "bias_gain": 0.01},
    r"synthesis\.b\d+": {"architecture": "skip"},
    r"synthesis\.b\d+\.conv\d": {"activation": "lrelu", "use_noise": True},
    r"synthesis\..*\.affine": {"activation": "linear", "bias_gain": 1},
}


@dataclasses.dataclass
class _Left:
    """Parts and tensors that a network may still have, before it is too many for any.

    Attributes:
      networks: Parts left.
      tensors: Names of tensors and parts left.
    """

    networks: int = MAX_NETWORKS
    tensors: int = MAX_TENSORS

    def enter(self, depth: int, kind: str) -> None:
        """Count a part that is inside of `depth` others.

        Raises:
          ConversionError: if there are too many.
        """
        self.networks -= 1
        if depth > MAX_DEPTH or self.networks < 0:
            raise ConversionError(f"the pickle has {kind} inside each other endlessly")

    def take(self, count: int) -> None:
        """Count tensors.

        Raises:
          ConversionError: if there are too many.
        """
        self.tensors -= count
        if self.tensors < 0:
            raise ConversionError(f"the pickle has a network of more than {MAX_TENSORS:,} tensors and parts")


class NetworkTensors(NamedTuple):
    """The tensors of a pickled network.

    Attributes:
      tensors: By their full name.
      problems: Errors, one line each.
      notes: Lines for the report.
    """

    tensors: dict[str, Tensor]
    problems: list[str]
    notes: list[str]


def is_tf(value: Pickled) -> bool:
    """Return whether a pickle holds TensorFlow-era networks: (G, D, Gs), or one of them."""
    networks = value if isinstance(value, tuple) and len(value) == 3 else (value,)
    return all(isinstance(network, Record) and network.name == NETWORK for network in networks)


def is_torch(value: Pickled) -> bool:
    """Return whether a pickle holds a PyTorch network: a dict with `G_ema`, or the network itself."""
    network = value.get("G_ema") if isinstance(value, dict) else value
    return isinstance(network, Record) and network.name == MODULE


def tf_tensors(value: Pickled) -> NetworkTensors:
    """Return the variables of `Gs`.

    Raises:
      ConversionError: if the object is not a pickled network.
    """
    network = value[2] if isinstance(value, tuple) else value
    tensors: dict[str, Tensor] = {}
    problems: list[str] = []
    notes = ["2 networks ignored: G without averaging, and the discriminator D"] * isinstance(value, tuple)
    left = _Left()
    for prefix, state in _tf_networks("", network, left):
        problems += _differences(prefix or "Gs", state.get("static_kwargs"), _TF_SETTINGS)
        notes += _clamp_note(state.get("static_kwargs"))
        for name, array in _variables(state, left):
            problems += [f"{shown(prefix + name)}: used twice"] * (prefix + name in tensors)
            tensors[prefix + name] = array
    return NetworkTensors(tensors, problems, sorted(set(notes)))


def torch_tensors(value: Pickled) -> NetworkTensors:
    """Return the parameters and buffers of `G_ema`.

    Raises:
      ConversionError: if the object is not a pickled module.
    """
    network = value["G_ema"] if isinstance(value, dict) else value
    others = sorted(shown(key) for key in value if not same(key, "G_ema")) if isinstance(value, dict) else []
    tensors: dict[str, Tensor] = {}
    problems, notes = [], [f"{len(others)} other entries ignored: {listed(others)}"] if others else []
    left = _Left()
    for prefix, state in _modules("", network, left):
        for pattern, settings in _TORCH_SETTINGS.items():
            if re.fullmatch(pattern, prefix.removesuffix(".")):
                problems += _differences(prefix.removesuffix("."), state, settings)
        notes += _clamp_note(state)
        for part in ("_parameters", "_buffers"):
            for name, tensor in _named(state, part, left):
                if tensor is not None:
                    tensors[prefix + name] = _tensor(prefix + name, tensor)
    return NetworkTensors(tensors, problems, sorted(set(notes)))


def _tf_networks(prefix: str, network: Pickled, left: _Left, *, depth: int = 0) -> Iterator[tuple[str, Mapping]]:
    left.enter(depth, "networks")
    if not isinstance(network, Record) or network.name != NETWORK or not isinstance(network.state, dict):
        raise ConversionError("the pickle has a network without a state")
    yield prefix, network.state
    for _, part in _named(network.state, "components", left):
        name = part.state.get("name") if isinstance(part, Record) and isinstance(part.state, dict) else None
        if name is not None and (not isinstance(name, str) or len(name) > MAX_NAME):
            raise ConversionError(f"the pickle has a network whose name is {shown(name)}")
        yield from _tf_networks(f"{prefix}{name}/", part, left, depth=depth + 1)


def _variables(state: Mapping, left: _Left) -> Iterator[tuple[str, Tensor]]:
    variables = state.get("variables")
    if not isinstance(variables, list):
        raise ConversionError("the pickle has a network without a list of variables")
    left.take(len(variables))
    for pair in variables:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ConversionError("the pickle has a network whose variables are not pairs of name and array")
        _check_length(pair[0])
        yield pair[0], _tensor(*pair)


def _modules(prefix: str, module: Pickled, left: _Left, *, depth: int = 0) -> Iterator[tuple[str, Mapping]]:
    left.enter(depth, "modules")
    if not isinstance(module, Record) or module.name != MODULE or not isinstance(module.state, dict):
        raise ConversionError(f"the pickle has no module where {shown(prefix or 'the network')} should be")
    yield prefix, module.state
    for name, part in _named(module.state, "_modules", left):
        if part is not None:
            yield from _modules(f"{prefix}{name}.", part, left, depth=depth + 1)


def _named(state: Mapping, part: str, left: _Left) -> list[tuple[str, Pickled]]:
    values = state.get(part, {})
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ConversionError(f"the pickle has a network whose {part} are not a dictionary of names")
    left.take(len(values))
    for name in values:
        _check_length(name)
    return list(values.items())


def _check_length(name: str) -> None:
    if len(name) > MAX_NAME:
        raise ConversionError(f"the pickle has a network with a name of {len(name):,} characters")


def _tensor(name: str, value: Pickled) -> Tensor:
    tensor = as_tensor(value)
    if tensor is None:
        raise ConversionError(f"{shown(name)} is a {type(value).__name__}, not a tensor")
    return tensor


def _differences(where: str, settings: Pickled, expected: Mapping[str, object]) -> list[str]:
    """List the settings that make it another network than the expected one."""
    if not isinstance(settings, Mapping):
        return []
    return [
        f"{shown(where)}: {name} is {shown(settings[name])}, expected {value}: another network"
        for name, value in expected.items()
        if name in settings and not same(settings[name], value)
    ]


def _clamp_note(settings: Pickled) -> list[str]:
    clamp = settings.get("conv_clamp") if isinstance(settings, Mapping) else None
    return [f"its conv_clamp ({shown(clamp)}) is not applied"] if clamp is not None else []
