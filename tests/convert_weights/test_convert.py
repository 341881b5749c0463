"""Complete conversions: the contents of the weights directory, and that no partially written one loads."""

import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from convert_weights import convert, nvidia_rules
from convert_weights.errors import ConversionError
from fgnet_jax.aus import PUBLISHED_CHANNELS
from fgnet_jax.models import fgnet, lineage, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.models.weights import WeightsError
from fgnet_jax.runtime.files import sha256
from fgnet_jax.runtime.version import __version__
from tests.convert_weights import writers

ROOT = Path(__file__).parents[2]


def flat(variables: fgnet.Variables) -> dict[str, np.ndarray]:
    """Return all variables by path."""
    return {**variables.params, **variables.batch_stats, **variables.buffers}


def test_fgnet(files, tmp_path):
    """FG-Net's file and pSp's become a weights directory that names its corpus and its source files."""
    convert.write(tmp_path / "out", convert.trained(files.model, files.encoder, TINY, "disfa"))
    config, variables, meta = weights.load(tmp_path / "out")
    assert config == TINY and meta.corpus == "disfa" and meta.aus == PUBLISHED_CHANNELS["disfa"]
    assert meta.version == __version__
    assert meta.sources == (
        {"file": "model.pth", "sha256": sha256(files.model)},
        {"file": "encoder.pt", "sha256": sha256(files.encoder)},
    )
    (link,) = lineage.links(meta)
    assert (link.kind, link.corpus, link.fold, link.aus) == (lineage.CONVERTED, "disfa", None, meta.aus)
    assert link.files == meta.sources and meta.extra[lineage.KEY] == [link.to_dict()]
    arrays = flat(variables)
    np.testing.assert_array_equal(arrays["encoder/latent_avg"], files.latent_avg)
    state = files.states["interpreter"]
    np.testing.assert_array_equal(arrays["interpreter/output/kernel"], state["layer4.4.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(arrays["interpreter/stages/0/norm/var"], state["layer0.4.running_var"])


def test_pretrained(files):
    """The starting point of training has the published generator and encoder, and a fresh interpreter of the seed."""
    conversion = convert.pretrained(files.generator, files.encoder, TINY, seed=3)
    arrays, fresh = flat(conversion.variables), flat(fgnet.init(TINY, seed=3))
    for path, array in arrays.items():
        assert np.array_equal(array, fresh[path]) == path.startswith("interpreter/"), path
    assert not np.array_equal(
        arrays["interpreter/output/kernel"], flat(fgnet.init(TINY, 4))["interpreter/output/kernel"]
    )
    assert conversion.meta.aus == () and conversion.meta.corpus is None
    assert "interpreter: 32 tensors freshly initialised (seed 3)" in conversion.report


def test_pretrained_from_nvidia(files, tmp_path):
    """Either of NVIDIA's pickles serves as the generator."""
    shapes = {path: shape for path, shape in writers.shapes_of(TINY).items() if path.startswith("generator/")}
    tf = writers.tf_pickle(writers.arrays_for(nvidia_rules.tf_generator(TINY), shapes))
    ada = {"G_ema": writers.ada_module(writers.arrays_for(nvidia_rules.torch_generator(TINY), shapes))}
    for value, part in ((tf, "Gs"), (ada, "G_ema")):
        (tmp_path / "net.pkl").write_bytes(writers.dump(value))
        conversion = convert.pretrained(tmp_path / "net.pkl", files.encoder, TINY)
        assert f"net.pkl: {part}: 79 tensors used" in conversion.report


def test_legacy_and_half_precision_files(files, tmp_path):
    """A model in the old layout and in half precision converts to the same values in float32."""
    half = {part: {name: halved(array) for name, array in state.items()} for part, state in files.states.items()}
    writers.save_legacy(tmp_path / "model.pth", half)
    conversion = convert.trained(tmp_path / "model.pth", files.encoder, TINY, "bp4d")
    expected = half["g_all"]["style.1.weight"].astype(np.float32).T
    np.testing.assert_array_equal(conversion.variables.params["generator/mapping/0/kernel"], expected)
    assert "model.pth: interpreter: 32 tensors used, 32 of them converted from half precision" in conversion.report


def halved(array: np.ndarray) -> np.ndarray:
    """Return an array in half precision; a counter unchanged."""
    return array.astype(np.float16) if array.dtype == np.float32 else array


def test_problems_of_all_files_at_once(files, tmp_path):
    """The problems of both files are listed in one message."""
    tree = {part: dict(state) for part, state in files.states.items()}
    del tree["interpreter"]["layer0.1.bias"]
    tree["g_all"]["extra"] = np.zeros(1, np.float32)
    writers.save_zip(tmp_path / "model.pth", tree)
    writers.save_zip(tmp_path / "encoder.pt", {"state_dict": {}, "latent_avg": np.zeros(3, np.float32)})
    with pytest.raises(ConversionError, match="3 problems") as refusal:
        convert.trained(tmp_path / "model.pth", tmp_path / "encoder.pt", TINY, "disfa")
    for part in ("layer0.1.bias: missing", "g_all: extra: unknown", "latent_avg: has shape (3,)"):
        assert part in str(refusal.value)


def test_existing_output(files, tmp_path):
    """An existing output is refused, replaced with overwrite, and never if it is not a weights directory."""
    conversion = convert.pretrained(files.generator, files.encoder, TINY)
    out = tmp_path / "deep" / "out"
    convert.write(out, conversion)
    with pytest.raises(ConversionError, match="exists; give another --output, or --overwrite"):
        convert.write(out, conversion)
    convert.write(out, convert.trained(files.model, files.encoder, TINY, "bp4d"), overwrite=True)
    assert weights.load(out)[2].corpus == "bp4d"
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    with pytest.raises(ConversionError, match="is not a weights directory, so it is not replaced"):
        convert.write(tmp_path / "other", conversion, overwrite=True)
    assert (tmp_path / "other" / "thesis.txt").exists()


def test_copies_are_the_network_and_nothing_else(files):
    """Reading and converting allocates little more than the network itself: files are memory-mapped."""
    convert.trained(files.model, files.encoder, TINY, "disfa")  # fills the caches
    tracemalloc.start()
    conversion = convert.trained(files.model, files.encoder, TINY, "disfa")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    network = sum(array.nbytes for array in flat(conversion.variables).values())
    assert peak < 1.5 * network + 2e6


KILLED = """
import os, signal, sys
from pathlib import Path
from convert_weights import convert
from fgnet_jax.train import checkpoints as checkpoint
from fgnet_jax.models.config import TINY

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

when, model, encoder, out = sys.argv[1:]
conversion = convert.trained(Path(model), Path(encoder), TINY, "disfa")
if when == "rename":
    os.rename = os.replace = die
else:
    checkpoint.ocp.JsonCheckpointHandler.save = checkpoint.ocp.JsonCheckpointHandler.async_save = die
convert.write(Path(out), conversion, overwrite=True)
"""


@pytest.mark.parametrize("when", ["rename", "write"])
def test_killed_conversion(files, tmp_path, when):
    """kill -9 while writing, or before the last rename, leaves nothing that loads, or the older weights complete."""
    old, new = tmp_path / "old", tmp_path / "new"
    convert.write(old, convert.trained(files.model, files.encoder, TINY, "bp4d"))
    for out in (new, old):
        command = [sys.executable, "-c", KILLED, when, str(files.model), str(files.encoder), str(out)]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert len(list(tmp_path.iterdir())) > 2, "it was killed before it wrote anything"
    for path in set(tmp_path.iterdir()) - {old}:
        with pytest.raises(WeightsError):
            weights.load(path)
    assert weights.load(old)[2].corpus == "bp4d"
    convert.write(new, convert.trained(files.model, files.encoder, TINY, "disfa"), overwrite=True)
    convert.write(old, convert.trained(files.model, files.encoder, TINY, "disfa"), overwrite=True)
    assert weights.load(new)[2].corpus == weights.load(old)[2].corpus == "disfa"
