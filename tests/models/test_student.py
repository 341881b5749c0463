"""The student: sizes, what it costs, and that weights directories and `Detector` take it as any network."""

import dataclasses

import jax
import numpy as np
import pytest

import fgnet_jax
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import BLOCKS, TINY, TINY_STUDENT, ModelConfig, StudentConfig, network_config
from fgnet_jax.models.ops import platforms

FACES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


def computed(config: StudentConfig, train: bool = False) -> tuple[jax.Array, fgnet.Arrays]:
    """Return heatmaps of three faces and the statistics afterwards."""
    variables, images = fgnet.init(config, seed=1), fgnet.normalise(FACES)
    if train:
        return fgnet.apply_train(config, variables, images, None)
    return fgnet.apply(config, variables, images), variables.batch_stats


@pytest.mark.parametrize("block", BLOCKS)
def test_heatmaps_have_a_quarter_of_the_faces_side(block):
    """Of every kind of block."""
    heatmaps, _ = computed(dataclasses.replace(TINY_STUDENT, block=block))
    assert heatmaps.shape == (3, 8, 8, 12) and heatmaps.dtype == np.float32
    assert np.isfinite(heatmaps).all() and np.std(heatmaps) > 1e-3


def test_heatmaps_are_enlarged_where_more_are_asked_for():
    """Bilinearly, corner to corner: the corners stay what they are."""
    small, large = (computed(dataclasses.replace(TINY_STUDENT, heatmap_size=size))[0] for size in (8, 32))
    assert large.shape == (3, 32, 32, 12)
    np.testing.assert_allclose(large[:, ::31, ::31], small[:, ::7, ::7], atol=1e-5)


def test_training_updates_statistics_and_one_face_depends_on_the_others():
    """BatchNorm in training, as everywhere."""
    still, before = computed(TINY_STUDENT)
    moving, after = computed(TINY_STUDENT, train=True)
    assert not np.allclose(still, moving)
    assert all(not np.allclose(before[path], after[path]) for path in before)


def test_the_default_costs_less_than_a_gigaflop_and_five_million_parameters():
    """As the compiler counts them: multiplications and additions, each as one."""
    config = StudentConfig()
    variables = fgnet.abstract(config)
    images = jax.ShapeDtypeStruct((1, 128, 128, 3), np.float32)
    costs = jax.jit(lambda v, x: fgnet.apply(config, v, x)).lower(variables, images).compile().cost_analysis()
    assert costs is not None and 0.2e9 < costs["flops"] < 1e9
    assert 1e6 < sum(np.prod(array.shape) for array in variables.params.values()) < 5e6


def test_weights_directories_keep_a_student(tmp_path):
    """A student has no buffers, and `Detector` takes it as any network."""
    variables = fgnet.init(TINY_STUDENT)
    weights.save(tmp_path / "student", TINY_STUDENT, variables, weights.WeightsMeta(aus=(1, 2, 4)))
    config, loaded, meta = weights.load(tmp_path / "student")
    assert config == TINY_STUDENT and meta.model["network"] == "student"
    assert all(np.array_equal(variables.params[path], value) for path, value in loaded.params.items())

    detector = fgnet_jax.Detector.load(tmp_path / "student")
    found = detector.predict(FACES)
    expected = np.clip(fgnet.apply(config, variables, fgnet.normalise(FACES))[..., :3], -1, 1)
    assert found.heatmaps is not None
    np.testing.assert_allclose(found.heatmaps, expected, atol=1e-5)
    np.testing.assert_allclose(found.scores, expected.mean((1, 2)), atol=1e-6)


def test_configurations_say_which_network_they_are_of():
    """Stored ones of FG-Net are what they were before there were students."""
    assert network_config(TINY.to_dict()) == TINY and isinstance(network_config({}), ModelConfig)
    assert network_config(TINY_STUDENT.to_dict()) == TINY_STUDENT
    with pytest.raises(ValueError, match="network must be 'student', or absent for FG-Net, got 'teacher'"):
        network_config({"network": "teacher"})


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"block": "dense"}, "block must be one of residual, partial, inverted"),
        ({"channels": (8, 16)}, "three sides"),
        ({"image_size": 48}, "image_size must be a power of two"),
        ({"heatmap_size": 4}, "heatmap_size at least a quarter"),
        ({"precision": "low"}, "precision must be one of"),
        ({"style_dim": 512}, "unknown keys: style_dim"),
    ],
)
def test_what_is_no_student_is_refused(values, problem):
    """With the key, and what was expected."""
    with pytest.raises(ValueError, match=problem):
        StudentConfig.from_dict(TINY_STUDENT.to_dict() | values)


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_every_platforms_path_gives_the_same(platform):
    """Forwards and backwards, traced as for that platform and run here."""
    config = TINY_STUDENT
    variables, images = fgnet.init(config, seed=1), fgnet.normalise(FACES)

    def loss(params: fgnet.Arrays) -> jax.Array:
        heatmaps, _ = fgnet.apply_train(config, dataclasses.replace(variables, params=params), images, None)
        return (heatmaps**2).mean()

    expected = jax.jit(jax.value_and_grad(loss))(variables.params)
    found = jax.jit(platforms.traced_for(platform, jax.value_and_grad(loss)))(variables.params)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    largest = max(float(np.abs(gradient).max()) for gradient in expected[1].values())
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    for path, gradient in expected[1].items():
        np.testing.assert_allclose(found[1][path], gradient, atol=1e-5 * largest, err_msg=path)
