"""The parts of the files that are converted, and reports and errors about the others."""

import re

import numpy as np
import pytest

from convert_weights import engine, nvidia_rules, sources
from convert_weights.errors import ConversionError
from convert_weights.files import read
from fgnet_jax.models.config import TINY
from tests.convert_weights import fileset, writers
from tests.convert_weights.writers import Call, Name

SHAPES = writers.shapes_of(TINY)
GENERATOR = {path: shape for path, shape in SHAPES.items() if path.startswith("generator/")}


def pickled(tmp_path, value):
    """Return the contents of a file that is this pickle."""
    (tmp_path / "net.pkl").write_bytes(writers.dump(value))
    return read(tmp_path / "net.pkl")


def tf_arrays() -> dict[str, np.ndarray]:
    """Return random variables of a tiny Gs."""
    return writers.arrays_for(nvidia_rules.tf_generator(TINY), GENERATOR)


def ada_arrays() -> dict[str, np.ndarray]:
    """Return random tensors of a tiny G_ema."""
    return writers.arrays_for(nvidia_rules.torch_generator(TINY), GENERATOR)


def text(group: engine.Group) -> str:
    """Return a group's report."""
    return "\n".join(engine.report(group))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_prefix_of_data_parallel_runs(tmp_path, files, prefix):
    """`module.` before every name, outside or inside pSp's own prefix, is removed and reported."""
    state = {prefix + name: value for name, value in files.states["g_all"].items()}
    writers.save_zip(tmp_path / "g.pt", {"g_ema": state})
    group = sources.generator(read(tmp_path / "g.pt"), TINY)
    assert set(engine.convert([group], GENERATOR)) == set(GENERATOR)
    assert ("module." in text(group)) == bool(prefix)
    for outer, inner in ((prefix, ""), ("", prefix)):
        encoder = {f"{outer}encoder.{inner}{name}": value for name, value in files.states["pspencoder"].items()}
        writers.save_zip(tmp_path / "e.pt", {"state_dict": encoder, "latent_avg": files.latent_avg})
        engine.convert(sources.encoder(read(tmp_path / "e.pt"), TINY), encoder_shapes())


def encoder_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shapes of the encoder's variables."""
    return {path: shape for path, shape in SHAPES.items() if path.startswith("encoder/")}


def test_prefix_and_none_at_once(tmp_path, files):
    """A tensor that exists with the prefix and without is used twice."""
    state = files.states["g_all"]
    writers.save_zip(tmp_path / "g.pt", {"g_ema": state | {"module.style.1.bias": state["style.1.bias"]}})
    group = sources.generator(read(tmp_path / "g.pt"), TINY)
    with pytest.raises(ConversionError, match=r"style\.1\.bias: used twice"):
        engine.convert([group], GENERATOR)


def test_extras_of_a_training_checkpoint(tmp_path, files):
    """rosinality's own checkpoints have further entries, which are reported."""
    tree = {
        "g_ema": files.states["g_all"],
        "g": {},
        "d": {},
        "g_optim": {},
        "d_optim": {},
        "args": {},
        "ada_aug_p": 0.5,
    }
    group = sources.generator(read(writers.save_zip(tmp_path / "g.pt", tree)), TINY)
    for part in ("d ignored: the discriminator", "args ignored", "8 ignored: the fixed low-pass filters"):
        assert part in text(group)


def test_extras_of_psp(files):
    """pSp's decoder, its options and BatchNorm's counters are reported."""
    group = sources.encoder(read(files.encoder), TINY)[0]
    for part in (
        "87 ignored: pSp's own generator (decoder.)",
        "opts ignored",
        "12 ignored: BatchNorm's batch counters",
    ):
        assert part in text(group)


@pytest.mark.parametrize("part, required", [("generator", "g_ema"), ("encoder", "state_dict"), ("fgnet", "g_all")])
def test_files_in_the_wrong_place(tmp_path, files, part, required):
    """For a file in another's place, the message tells what it lacks and what it has."""
    reader = getattr(sources, part)
    others = {files.generator: "generator", files.encoder: "encoder", files.model: "fgnet"}
    for path in (path for path, name in others.items() if name != part):
        with pytest.raises(ConversionError, match=rf"is not what --{part} takes: it lacks .*{required}.*; it has "):
            reader(read(path), TINY)
    with pytest.raises(
        ConversionError, match="is not what --encoder takes|is not what --fgnet takes|a pickle of plain data"
    ):
        reader(pickled(tmp_path, {"a": 1}), TINY)


def test_files_of_something_else(tmp_path):
    """PyTorch files that are not a dictionary, or have unknown entries, are refused."""
    with pytest.raises(ConversionError, match="is not what --generator takes"):
        sources.generator(read(writers.save_zip(tmp_path / "x.pt", np.ones(3, np.float32))), TINY)
    with pytest.raises(ConversionError, match="unknown entries: surprise"):
        sources.generator(read(writers.save_zip(tmp_path / "x.pt", {"g_ema": {}, "surprise": 1})), TINY)


def test_state_dicts_of_something_else(tmp_path):
    """Values that are not tensors are listed."""
    tree = {"interpreter": 3, "g_all": {"style.1.bias": "text"}, "pspencoder": {}}
    groups = sources.fgnet(read(writers.save_zip(tmp_path / "x.pt", tree)), TINY)
    with pytest.raises(
        ConversionError, match=r"interpreter: is a int, not a state dict[\s\S]*style\.1\.bias: is a str, not a tensor"
    ):
        engine.convert(groups, SHAPES)
    tree = {"state_dict": {"encoder.x": 1, "other.y": 1}, "latent_avg": "text"}
    groups = sources.encoder(read(writers.save_zip(tmp_path / "x.pt", tree)), TINY)
    with pytest.raises(ConversionError, match=r"other\.y: unknown[\s\S]*latent_avg: is a str, not a tensor"):
        engine.convert(groups, encoder_shapes())


def test_wrong_latent_avg(tmp_path, files):
    """An average latent of one style only is refused by its shape."""
    writers.save_zip(tmp_path / "e.pt", fileset.psp(files.states, files.latent_avg[0]))
    with pytest.raises(ConversionError, match=r"latent_avg: has shape \(32,\), expected \(10, 32\)"):
        engine.convert([sources.latent_avg(read(tmp_path / "e.pt"), TINY)], {sources.LATENT_AVG: (10, 32)})


def test_tf_pickle(tmp_path):
    """The TensorFlow-era generator converts, from Gs."""
    arrays = tf_arrays() | {"lod": np.zeros((), np.float32), "dlatent_avg": np.zeros(32, np.float32)}
    group = sources.generator(pickled(tmp_path, writers.tf_pickle(arrays, mapping_lrmul=0.01)), TINY)
    converted = engine.convert([group], GENERATOR)
    np.testing.assert_array_equal(
        converted["generator/convs/1/kernel"], arrays["G_synthesis/8x8/Conv0_up/weight"][::-1, ::-1]
    )
    np.testing.assert_array_equal(
        converted["generator/convs/2/modulation/bias"], arrays["G_synthesis/8x8/Conv1/mod_bias"] + np.float32(1)
    )
    for part in ("1 ignored: the average w", "1 ignored: progressive", "2 networks ignored", "Gs: 79 tensors used"):
        assert part in text(group)


def test_tf_pickle_of_one_flat_network(tmp_path):
    """Gs alone, with all variables under their full names, converts, too."""
    group = sources.generator(pickled(tmp_path, writers.tf_network("Gs", tf_arrays())), TINY)
    assert set(engine.convert([group], GENERATOR)) == set(GENERATOR)


def test_torch_pickle(tmp_path):
    """The PyTorch generator converts; discriminators, w_avg and filters are reported."""
    filters = {name: np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64 for name in FILTERS}
    arrays = ada_arrays() | filters | {"mapping.w_avg": np.zeros(32, np.float32)}
    value = {"G": None, "D": writers.ada_module({}), "G_ema": writers.ada_module(arrays), "augment_pipe": None}
    group = sources.generator(pickled(tmp_path, value), TINY)
    converted = engine.convert([group], GENERATOR)
    np.testing.assert_array_equal(
        converted["generator/convs/1/kernel"], arrays["synthesis.b8.conv0.weight"].transpose(2, 3, 1, 0)
    )
    for part in ("1 ignored: the average w", "2 ignored: the fixed low-pass", "3 other entries ignored: D, G, augment"):
        assert part in text(group)


FILTERS = ("synthesis.b4.resample_filter", "synthesis.b8.conv0.resample_filter")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"mapping_lrmul": 0.1}, "mapping_lrmul is 0.1, expected 0.01"),
        ({"architecture": "resnet"}, "architecture is resnet, expected skip"),
        ({"resample_kernel": [1, 2, 1]}, "resample_kernel is"),
    ],
)
def test_other_tf_networks(tmp_path, settings, message):
    """A network of the same tensors that computes something else is refused."""
    group = sources.generator(pickled(tmp_path, writers.tf_pickle(tf_arrays(), **settings)), TINY)
    with pytest.raises(ConversionError, match=re.escape(message)):
        engine.convert([group], GENERATOR)


@pytest.mark.parametrize(
    "module, settings, message",
    [
        ("mapping.fc0", {"bias_gain": 1}, "mapping.fc0: bias_gain is 1, expected 0.01"),
        ("synthesis.b8", {"architecture": "resnet"}, "synthesis.b8: architecture is resnet"),
        ("synthesis.b8.conv1", {"activation": "relu"}, "synthesis.b8.conv1: activation is relu"),
    ],
)
def test_other_torch_networks(tmp_path, module, settings, message):
    """The same, for PyTorch's modules, whose settings are in their attributes."""
    value = {"G_ema": writers.ada_module(ada_arrays(), {module: settings})}
    with pytest.raises(ConversionError, match=re.escape(message)):
        engine.convert([sources.generator(pickled(tmp_path, value), TINY)], GENERATOR)


def test_clamping_is_reported(tmp_path):
    """A clamp on activations, which our network does not have, is reported."""
    value = {"G_ema": writers.ada_module(ada_arrays(), {"synthesis.b8.conv1": {"conv_clamp": 256}})}
    assert "conv_clamp (256) is not applied" in text(sources.generator(pickled(tmp_path, value), TINY))


def test_conditional_networks_are_refused(tmp_path):
    """A label embedding is an unknown tensor."""
    value = {"G_ema": writers.ada_module(ada_arrays() | {"mapping.embed.weight": np.zeros((4, 4), np.float32)})}
    with pytest.raises(ConversionError, match=r"mapping\.embed\.weight: unknown"):
        engine.convert([sources.generator(pickled(tmp_path, value), TINY)], GENERATOR)


NETWORK = Name("dnnlib.tflib.network", "Network")
MODULE = Name("torch_utils.persistence", "_reconstruct_persistent_obj")


@pytest.mark.parametrize(
    "value, message",
    [
        (Call(NETWORK, ()), "a network without a state"),
        (Call(NETWORK, (), {"variables": 3}), "without a list of variables"),
        (Call(NETWORK, (), {"variables": [3]}), "not pairs of name and array"),
        (Call(NETWORK, (), {"variables": [("a", "text")]}), "a is a str, not a tensor"),
        (Call(NETWORK, (), {"variables": [], "components": [1]}), "not a dictionary of names"),
        (Call(NETWORK, (), {"variables": [], "components": {"a": 1}}), "a network without a state"),
        ({"G_ema": Call(MODULE, ({"state": 1},))}, "without a state"),
        ({"G_ema": Call(MODULE, ({"state": {"_modules": {"a": 1}}},))}, "no module where a. should be"),
        ({"G_ema": Call(MODULE, ({"state": {"_buffers": {1: 1}}},))}, "not a dictionary of names"),
        ({"G_ema": Call(MODULE, ({"state": {"_buffers": {"a": 1}}},))}, "a is a int, not a tensor"),
        ({"G_ema": 1}, "a pickle of plain data"),
    ],
)
def test_broken_networks(tmp_path, value, message):
    """Broken network objects are refused with the file's name."""
    with pytest.raises(ConversionError, match=message):
        sources.generator(pickled(tmp_path, value), TINY)


def self_containing(name: bytes, build: bytes, part: bytes, extra: bytes = b"") -> bytes:
    """Return a pickle of a network that contains itself twice, so that its traversal would never end."""
    key = b"X" + len(part).to_bytes(4, "little") + part
    twice = b"}(X\x01\x00\x00\x00ah\x01X\x01\x00\x00\x00bh\x01u"
    return b"\x80\x02" + name + b"q\x01" + b"}(" + extra + key + twice + b"u" + build + b"."


def test_networks_that_contain_themselves(tmp_path):
    """Networks that contain themselves are refused, however often."""
    variables = b"X\x09\x00\x00\x00variables]"
    path = tmp_path / "x.pkl"
    path.write_bytes(self_containing(b"cdnnlib.tflib.network\nNetwork\n)\x81", b"b", b"components", variables))
    with pytest.raises(ConversionError, match="endlessly"):
        sources.generator(read(path), TINY)
    # A module's state comes first: its dictionary of modules is filled with the module after its construction.
    module = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
    state = b"}(X\x05\x00\x00\x00state}(X\x08\x00\x00\x00_modules}q\x02uu\x85R"
    fill = b"q\x010h\x02(X\x01\x00\x00\x00ah\x01X\x01\x00\x00\x00bh\x01u0h\x01"
    path.write_bytes(b"\x80\x02" + module + state + fill + b".")
    with pytest.raises(ConversionError, match="endlessly"):
        sources.generator(read(path), TINY)
