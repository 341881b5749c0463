"""Entries of files besides their networks: other encoders, settings, states of trainings, prefixes, average latents."""

import argparse
import pickle

import numpy as np
import pytest

from convert_weights import convert, engine, settings, sources
from convert_weights.errors import ConversionError
from convert_weights.files import read
from fgnet_jax.models.config import TINY, ModelConfig
from tests.convert_weights import fileset, writers
from tests.convert_weights.writers import Call, Name, Raw

ENCODER = {path: shape for path, shape in writers.shapes_of(TINY).items() if path.startswith("encoder/")}
PATH = Call(Name("pathlib", "PosixPath"), ("/", "data", "ffhq"))
OURS = {
    "encoder_type": "GradualStyleEncoder",
    "start_from_latent_avg": True,
    "learn_in_w": False,
    "output_size": 64,
    "input_nc": 3,
    "label_nc": 0,
}
OTHERS = {
    "encoder_type": "Encoder4Editing",
    "start_from_latent_avg": False,
    "learn_in_w": True,
    "output_size": 1024,
    "input_nc": 19,
    "label_nc": 19,
}


def psp(tmp_path, files, **entries):
    """Write pSp's file with other entries, where None leaves one out, and read it."""
    tree = fileset.psp(files.states, files.latent_avg) | entries
    writers.save_zip(tmp_path / "e.pt", {name: value for name, value in tree.items() if value is not None})
    return read(tmp_path / "e.pt")


def text(groups) -> str:
    """Return the report of some groups."""
    return "\n".join(line for group in groups for line in engine.report(group))


def namespace(values: dict) -> Call:
    """Return an argparse.Namespace as pickles have it."""
    return Call(Name("argparse", "Namespace"), (), values, b"\x81")


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kind", [dict, namespace])
def test_other_encoders_are_refused_by_name(tmp_path, files, name, kind):
    """encoder4editing has every name of pSp: an option that changes what tensors mean is refused by name."""
    contents = psp(tmp_path, files, opts=kind(OURS | {name: OTHERS[name]}))
    message = rf"opts: {name} is {OTHERS[name]}, expected {OURS[name]}: another network"
    with pytest.raises(ConversionError, match=message) as refusal:
        engine.convert(sources.encoder(contents, TINY), ENCODER)
    assert "1 problem" in str(refusal.value)
    with pytest.raises(ConversionError, match=message):  # for the average latent alone, too
        engine.convert([sources.latent_avg(contents, TINY)], {sources.LATENT_AVG: (10, 32)})


@pytest.mark.parametrize("opts", [None, {}, OURS, namespace(OURS), {"encoder_type": "GradualStyleEncoder", "lr": 0.1}])
def test_options_of_psp_are_taken(tmp_path, files, opts):
    """pSp's own values are taken; absent ones are pSp's."""
    engine.convert(sources.encoder(psp(tmp_path, files, opts=opts), TINY), ENCODER)


def test_published_output_size():
    """The published network's output has 1024 pixels."""
    assert settings.options(ModelConfig())["output_size"] == 1024
    assert settings.differences({"output_size": 512}, ModelConfig()) == [
        "opts: output_size is 512, expected 1024: another network than pSp's encoder of FFHQ"
    ]


@pytest.mark.parametrize("value", [[1], "text", 3])
def test_options_in_something_else_are_refused(tmp_path, files, value):
    """Options that cannot be read could be another encoder's."""
    with pytest.raises(ConversionError, match="expected a dictionary or a Namespace of options"):
        engine.convert(sources.encoder(psp(tmp_path, files, opts=value), TINY), ENCODER)


@pytest.mark.parametrize(
    "value, name",
    [
        (PATH, "pathlib.PosixPath"),
        (Call(Name("collections", "defaultdict"), (Name("x.y", "Factory"),), {"a": 1}), "collections.defaultdict"),
        (Raw(b"ccollections\ndeque\n)R(K\x01K\x02e"), "collections.deque"),
        (Call(Name("options.train", "Options"), (), {"path": PATH}, b"\x81"), "options.train.Options"),
        (Name("torch.nn.modules.loss", "MSELoss"), "torch.nn.modules.loss.MSELoss"),
    ],
)
def test_settings_that_are_no_tensors_are_skipped_by_name(tmp_path, files, value, name):
    """A path, or any other object among the options, does not stop good weights; nothing is made of it."""
    groups = sources.encoder(psp(tmp_path, files, opts=OURS | {"where": value}), TINY)
    engine.convert(groups, ENCODER)
    assert f"opts ignored: training settings; skipped in it, not built: {name}" in text(groups)


def test_a_real_path_in_the_options(tmp_path, files):
    """What Python itself pickles for a path, in every protocol."""
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        opts = Raw(pickle.dumps({"where": tmp_path}, protocol).removesuffix(b"."))
        groups = sources.encoder(psp(tmp_path, files, opts=opts), TINY)
        assert "not built: pathlib" in text(groups)


def test_options_of_an_unknown_class_are_read(tmp_path, files):
    """Options in a class of the training's own are checked as those in a dictionary."""
    for opts in (
        Call(Name("options", "Options"), (), {"encoder_type": "Encoder4Editing"}, b"\x81"),
        Raw(b"cyacs.config\nCfgNode\n)\x81(X\x0c\x00\x00\x00encoder_typeX\x0f\x00\x00\x00Encoder4Editingu"),
    ):
        with pytest.raises(ConversionError, match="encoder_type is Encoder4Editing"):
            engine.convert(sources.encoder(psp(tmp_path, files, opts=opts), TINY), ENCODER)


@pytest.mark.parametrize("where", ["state_dict", "latent_avg", "entry", "top"])
def test_unknown_classes_anywhere_else_are_refused(tmp_path, files, where):
    """Outside of settings, nothing but tensors and containers is taken."""
    with pytest.raises(ConversionError, match=r"refers to pathlib\.PosixPath, which is neither a tensor nor"):
        if where == "top":
            read(writers.save_zip(tmp_path / "e.pt", PATH))
        psp(tmp_path, files, **{where: {"a": PATH}})


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "subprocess.Popen", "builtins.getattr"])
def test_code_is_refused_in_settings_too(tmp_path, files, name):
    """A file that names what starts programs is refused, wherever that is."""
    evil = Call(Name(*name.rsplit(".", 1)), ("echo run > evidence",))
    with pytest.raises(ConversionError, match=f"refers to {name}"):
        psp(tmp_path, files, opts={"a": evil})


def test_other_entries_of_a_training_state(tmp_path, files):
    """Optimisers and counters are named as ignored, in each of the files."""
    state = {"optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]}, "global_step": 1000}
    groups = sources.encoder(psp(tmp_path, files, **state), TINY)
    engine.convert(groups, ENCODER)
    model = sources.fgnet(read(writers.save_zip(tmp_path / "m.pth", files.states | state)), TINY)
    generator = sources.generator(read(writers.save_zip(tmp_path / "g.pt", {"g_ema": {}} | state)), TINY)
    for report in (text(groups), text(model), "\n".join(generator.notes)):
        assert "optimizer ignored: an optimiser's state" in report
        assert "global_step ignored: the state of the training" in report


@pytest.mark.parametrize(
    "pattern",
    ["_orig_mod.{}", "module._orig_mod.{}", "_orig_mod.module.{}", "_orig_mod._orig_mod.{}"],
)
def test_prefixes_of_compiled_networks(tmp_path, files, pattern):
    """`_orig_mod.` is taken off as `module.` is, in any nesting, outside and inside of pSp's own prefix."""
    names = files.states["pspencoder"]
    inside = {f"encoder.{pattern.format(name)}": value for name, value in names.items()}
    outside = {pattern.format(f"encoder.{name}"): value for name, value in names.items()}
    both = {pattern.format(f"encoder.{pattern.format(name)}"): value for name, value in names.items()}
    parts = {f"encoder.{name.replace('res_layer.', pattern.format('res_layer.'))}": x for name, x in names.items()}
    for state in (inside, outside, both, parts):
        groups = sources.encoder(psp(tmp_path, files, state_dict=state), TINY)
        arrays = engine.convert(groups, ENCODER)
        np.testing.assert_array_equal(arrays["encoder/input_norm/scale"], names["input_layer.1.weight"])
        assert "_orig_mod. was removed from its names" in text(groups)


def test_one_tensor_under_two_prefixes(tmp_path, files):
    """A tensor with a prefix outside, and with one inside, is used twice."""
    state = fileset.psp(files.states, files.latent_avg)["state_dict"]
    value = state.pop("encoder.input_layer.1.bias")
    state |= {"module.encoder.input_layer.1.bias": value, "encoder.module.input_layer.1.bias": value}
    with pytest.raises(ConversionError, match=r"input_layer\.1\.bias: used twice"):
        engine.convert(sources.encoder(psp(tmp_path, files, state_dict=state), TINY), ENCODER)


def test_average_latent_of_the_generator(tmp_path, files):
    """Where pSp's file has no average latent, the generator's own is taken for all styles, and the report says so."""
    own = np.arange(TINY.style_dim, dtype=np.float32)
    for latent in (own, own[None]):
        writers.save_zip(tmp_path / "g.pt", {"g_ema": files.states["g_all"], "latent_avg": latent})
        psp(tmp_path, files, latent_avg=None)
        conversion = convert.pretrained(tmp_path / "g.pt", tmp_path / "e.pt", TINY)
        average = {**conversion.variables.params, **conversion.variables.buffers}["encoder/latent_avg"]
        np.testing.assert_array_equal(average, np.tile(own, (TINY.num_styles, 1)))
        report = "\n".join(conversion.report)
        assert "--encoder has none: the generator's own average w (latent_avg) is taken for all 10 styles" in report
        assert "latent_avg ignored" not in report


@pytest.mark.parametrize("name", ["dlatent_avg", "mapping.w_avg"])
def test_average_latent_of_nvidias_generators(tmp_path, files, name):
    """The same, for either of NVIDIA's pickles."""
    from convert_weights import nvidia_rules

    own = np.arange(TINY.style_dim, dtype=np.float32)
    generator = {path: shape for path, shape in writers.shapes_of(TINY).items() if path.startswith("generator/")}
    is_tf = name == "dlatent_avg"
    table = nvidia_rules.tf_generator(TINY) if is_tf else nvidia_rules.torch_generator(TINY)
    arrays = writers.arrays_for(table, generator) | {name: own}
    value = writers.tf_pickle(arrays) if is_tf else {"G_ema": writers.ada_module(arrays)}
    (tmp_path / "g.pkl").write_bytes(writers.dump(value))
    psp(tmp_path, files, latent_avg=None)
    conversion = convert.pretrained(tmp_path / "g.pkl", tmp_path / "e.pt", TINY)
    average = {**conversion.variables.params, **conversion.variables.buffers}["encoder/latent_avg"]
    np.testing.assert_array_equal(average[-1], own)
    assert f"own average w ({name})" in "\n".join(conversion.report)


def test_no_average_latent_at_all(tmp_path, files):
    """Without one in either file, or beside model.pth, there is a line on what to do."""
    psp(tmp_path, files, latent_avg=None)
    writers.save_zip(tmp_path / "g.pt", {"g_ema": files.states["g_all"]})
    with pytest.raises(
        ConversionError, match="--encoder has no average latent.*neither has .*g.pt; use pSp's published"
    ):
        convert.pretrained(tmp_path / "g.pt", tmp_path / "e.pt", TINY)
    with pytest.raises(ConversionError, match="it lacks latent_avg"):
        convert.trained(files.model, tmp_path / "e.pt", TINY, "disfa")


def test_one_average_latent_is_repeated(tmp_path, files):
    """An average latent of shape (1, 512) is every style's."""
    contents = psp(tmp_path, files, latent_avg=files.latent_avg[:1])
    groups = sources.encoder(contents, TINY)
    np.testing.assert_array_equal(
        engine.convert(groups, ENCODER)["encoder/latent_avg"], np.tile(files.latent_avg[:1], (TINY.num_styles, 1))
    )
    assert "its one latent is repeated for all 10 styles" in text(groups)


def test_real_options(tmp_path, files):
    """A Namespace as argparse itself pickles it is read."""
    opts = Raw(pickle.dumps(argparse.Namespace(encoder_type="Encoder4Editing"), 4).removesuffix(b"."))
    with pytest.raises(ConversionError, match="encoder_type is Encoder4Editing"):
        engine.convert(sources.encoder(psp(tmp_path, files, opts=opts), TINY), ENCODER)
