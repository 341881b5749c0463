"""Writes the files in fixtures/, a few KB each: every layout as its own software writes it.

    python -m tests.convert_weights.make_fixtures

Needs PyTorch. The tests read the files where it is not installed; where it is, they write new ones, too.
"""

import argparse
import collections
import pickle
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

FIXTURES = Path(__file__).parent / "fixtures"


def expected() -> dict[str, Any]:
    """Return the values of the tensors in `state_dict`, by name."""
    base = np.arange(12, dtype=np.float32)
    return {
        "weight": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
        "transposed": base.reshape(3, 4).T,
        "column": base.reshape(3, 4)[:, 1],
        "tail": base[5:],
        "parameter": np.array([1, 2], np.float32),
        "scalar": np.float32(3.5),
        "empty": np.zeros((0, 3), np.float32),
        "half": np.array([0.5, -2], np.float32),
        "brain": np.array([1.5, -4], np.float32),
        "double": np.array([0.1]),
        "counter": np.int64(7),
        "flags": np.array([True, False]),
    }


def state_dict(torch: Any) -> dict[str, Any]:
    """Return the same in PyTorch: views of one storage, parameters, other dtypes."""
    values = expected()
    base = torch.arange(12.0)
    tensors = {name: torch.tensor(value) for name, value in values.items()}
    tensors |= {"transposed": base.view(3, 4).t(), "column": base.view(3, 4)[:, 1], "tail": base[5:]}
    tensors["parameter"] = torch.nn.Parameter(tensors["parameter"])
    tensors |= {"half": tensors["half"].half(), "brain": tensors["brain"].bfloat16()}
    state = collections.OrderedDict(tensors)
    state._metadata = {"": {"version": 1}}  # pyright: ignore[reportAttributeAccessIssue] - as nn.Module does
    return state


def torch_files(torch: Any, directory: Path) -> None:
    """Write PyTorch's layouts, with opts as a dict and as a Namespace, and one that was zipped again."""
    checkpoint = {"state_dict": state_dict(torch), "opts": {"lr": 0.1, "device": torch.device("cpu")}}
    torch.save(checkpoint, directory / "zip.pt")
    checkpoint["opts"] = argparse.Namespace(lr=0.1, size=torch.Size([1, 2]))
    torch.save(checkpoint, directory / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(checkpoint, directory / "legacy4.pt", _use_new_zipfile_serialization=False, pickle_protocol=4)
    with zipfile.ZipFile(directory / "zip.pt") as source:
        with zipfile.ZipFile(directory / "deflated.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            for name in source.namelist():
                archive.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED)


def nvidia_torch(torch: Any, path: Path, protocol: int = 4) -> None:
    """Write a pickle as stylegan2-ada-pytorch does, of a module with a submodule."""
    persistence, dnnlib = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")
    dictionary = _named("EasyDict", "dnnlib.util", dict)
    dnnlib.EasyDict = dictionary  # pyright: ignore[reportAttributeAccessIssue]

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("only its name is pickled")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj  # pyright: ignore

    class Module(torch.nn.Module):
        def __reduce__(self):
            state = dict(self.__dict__, weight_gain=np.float64(0.5), _init_kwargs=dictionary(size=4))
            meta = {"type": "class", "version": 6, "module_src": "raise SystemExit", "class_name": "M", "state": state}
            return (_reconstruct_persistent_obj, (meta,), None)

    network, part = Module(), Module()
    part._buffers.update({name: tensor.detach() for name, tensor in state_dict(torch).items()})
    network.mapping = part
    network.register_parameter("bias", torch.nn.Parameter(torch.ones(2)))
    network.register_parameter("absent", None)
    value = {"G": network, "D": None, "G_ema": network, "training_set_kwargs": dictionary(path="x")}
    with _modules({"torch_utils.persistence": persistence, "dnnlib.util": dnnlib}):
        path.write_bytes(pickle.dumps(value, protocol))


def nvidia_tf(path: Path, protocol: int = 4) -> None:
    """Write a pickle as the TensorFlow-era code does: (G, D, Gs), Gs with two networks."""
    module = types.ModuleType("dnnlib.tflib.network")
    network_class = _named("Network", "dnnlib.tflib.network", object)
    module.Network = network_class  # pyright: ignore[reportAttributeAccessIssue]

    def network(name: str, variables: dict, **components) -> Any:
        result = network_class()
        result.__dict__.update(version=4, name=name, static_kwargs={"fmap_base": 1}, components=components)
        result.__dict__.update(build_module_src="raise SystemExit", build_func_name="f")
        result.__dict__["variables"] = list(variables.items())
        return result

    def generator(prefix: str) -> Any:
        values = {name: value for name, value in expected().items() if name not in ("brain", "empty")}
        values |= {"scalar": np.float32(3.5), "transposed": np.asfortranarray(values["transposed"])}
        parts = {"mapping": network("G_mapping", values), "synthesis": network("G_synthesis", {})}
        return network(prefix, {"lod": np.float32(0), "dlatent_avg": np.ones(2, np.float32)}, **parts)

    with _modules({"dnnlib.tflib.network": module}):
        path.write_bytes(pickle.dumps((generator("G"), network("D", {}), generator("Gs")), protocol))


class _modules:
    """Puts modules of these names, and packages above them, into `sys.modules` temporarily."""

    def __init__(self, modules: dict[str, types.ModuleType]):
        parents = {name.rsplit(".", depth)[0] for name in modules for depth in range(1, name.count(".") + 1)}
        self.modules = {name: types.ModuleType(name) for name in parents} | modules

    def __enter__(self):
        self.before = {name: sys.modules.get(name) for name in self.modules}
        sys.modules.update(self.modules)

    def __exit__(self, *error):
        for name, module in self.before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def _named(name: str, module: str, base: type) -> type:
    return type(name, (base,), {"__module__": module, "__qualname__": name})


def main() -> None:
    """Write all fixtures."""
    import torch

    FIXTURES.mkdir(exist_ok=True)
    torch_files(torch, FIXTURES)
    nvidia_torch(torch, FIXTURES / "nvidia_torch.pkl")
    for protocol in (2, 4):
        nvidia_tf(FIXTURES / f"nvidia_tf_{protocol}.pkl", protocol)


if __name__ == "__main__":
    main()
