"""One training step: what it updates, what it leaves unchanged, and what it depends on."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.interpreter import PixelInterpreter
from fgnet_jax.models.ops.resize import shrink, upsample
from fgnet_jax.runtime import sharding
from fgnet_jax.train import evaluator, state, steps, targets
from fgnet_jax.train import optimizer as optimizer_lib
from fgnet_jax.train.losses import LossConfig, heatmap_loss
from fgnet_jax.train.optimizer import OptimConfig, optimizer

MODEL = ModelConfig(
    image_size=16,
    encoder_channels=(16, 16, 16),
    encoder_units=(1, 1, 1),
    style_dim=16,
    mapping_layers=1,
    generator_channels=(16, 16, 8, 8),
    heatmap_size=8,
    num_heatmaps=8,
    dropout=0.0,
)
AUS = (1, 4, 6, 12, 25)
SGD = OptimConfig("sgd", lr=0.1, clip=0)
CONFIG = steps.StepConfig(MODEL, SGD, targets.au_centres(AUS))
PIXEL = dataclasses.replace(MODEL, interpreter="pixel")


def batch(count=4, seed=0, unknown=()):
    """Return random faces; `unknown` are (face, AU column) pairs."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (count, len(AUS)), np.int8)
    for face, column in unknown:
        labels[face, column] = -1
    return {
        "image": jnp.asarray(rng.integers(0, 256, (count, 16, 16, 3), np.uint8)),
        "landmarks": jnp.asarray(rng.uniform(2, 14, (count, 68, 2)).astype(np.float32)),
        "labels": jnp.asarray(labels),
    }


@functools.cache
def _compiled(config):
    return jax.jit(functools.partial(steps.train_step, config, optimizer(config.optim, 10)))


@functools.cache
def _variables(model):
    return jax.tree.map(lambda array: jnp.asarray(array, model.param_dtype), fgnet.init(model))


def start(config):
    """Return the state before the first step."""
    return state.create(_variables(config.model), config.optim, optimizer(config.optim, 10))


def step(config, current=None, data=None, seed=0):
    """Run one step; return the next state and the step's metrics."""
    return _compiled(config)(current or start(config), data or batch(), jax.random.key(seed))


def freeze(*parts, **changes):
    """Return the configuration with some parts frozen."""
    optim = dataclasses.replace(SGD, **{f"lr_{part}": 0.0 for part in parts})
    return dataclasses.replace(CONFIG, optim=optim, **changes)


def updated(before, after):
    """Return the paths whose bits changed."""
    return {path for path in before if np.asarray(before[path]).tobytes() != np.asarray(after[path]).tobytes()}


@jax.jit
def _written_out(batch_stats, data):
    """Compute the published loss, updated running statistics and gradients, without the step's own code."""
    variables = _variables(MODEL)

    def loss(params):
        images = fgnet.normalise(data["image"])
        maps, stats = fgnet.apply_train(MODEL, fgnet.Variables(params, batch_stats, variables.buffers), images, None)
        expected = targets.targets(data["landmarks"], data["labels"], CONFIG.centres, size=8, image_size=16)
        return jnp.square(maps[..., : len(AUS)] - expected).mean(), stats

    return jax.value_and_grad(loss, has_aux=True)(variables.params)


def assert_descended(after, grads, stats):
    """Assert that parameters are lower by a tenth of the gradient, and that the statistics are these."""
    for path, before in _variables(MODEL).params.items():
        np.testing.assert_allclose(after.params[path], before - 0.1 * grads[path], rtol=1e-4, atol=2e-6, err_msg=path)
    for path, value in stats.items():
        np.testing.assert_allclose(after.batch_stats[path], value, rtol=1e-4, atol=1e-6, err_msg=path)


def test_a_step_descends_the_published_loss():
    """The metrics are the loss before the step and the norm of all gradients; the update is rate times gradient."""
    (value, stats), grads = _written_out(_variables(MODEL).batch_stats, batch())
    after, metrics = step(CONFIG)
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-5)
    norm = np.sqrt(sum(np.square(g).sum() for g in grads.values()))
    assert float(metrics["grad_norm"]) == pytest.approx(float(norm), rel=1e-4)
    assert after.step == 1
    assert_descended(after, grads, stats)


@pytest.mark.slow
def test_everything_that_the_heatmaps_depend_on_is_trained():
    """And nothing else, with the published rate and decay (5e-5 x 5e-4, below float32's resolution)."""
    config = dataclasses.replace(CONFIG, optim=OptimConfig())
    before = after = start(config)
    for _ in range(3):
        after, _ = step(config, after)
    last = f"encoder/styles/{MODEL.num_styles - 1}/"
    # The smallest possible generator has one style that reads the finest map, and it is the last.
    idle = ("generator/to_rgbs/", last, "encoder/lateral2/")
    assert set(before.params) - updated(before.params, after.params) == {p for p in before.params if p.startswith(idle)}
    assert updated(before.batch_stats, after.batch_stats) == set(before.batch_stats)
    assert not updated(before.buffers, after.buffers)


@pytest.mark.parametrize("frozen", [("encoder", "interpreter"), ("generator",)], ids="+".join)
def test_a_frozen_part_keeps_its_bits(frozen):
    """Parameters, and its BatchNorm's statistics: it normalises by the running ones."""
    config = freeze(*frozen)
    before, (after, metrics) = start(config), step(config)
    trained = {"encoder", "generator", "interpreter"} - set(frozen)
    assert {path.split("/")[0] for path in updated(before.params, after.params)} == trained
    normed = trained - {"generator"}
    assert {path.split("/")[0] for path in updated(before.batch_stats, after.batch_stats)} == normed
    assert np.isfinite(metrics["loss"])


def test_a_frozen_encoder_normalises_by_its_running_statistics():
    """The loss of a face then does not depend on other faces, if the interpreter's BatchNorm is frozen too."""
    config = freeze("encoder", "interpreter")
    evaluate = jax.jit(lambda data: steps.batch_loss(config, _variables(MODEL), data, jax.random.key(0))[0])
    faces = batch(4)
    halves = [{name: x[part] for name, x in faces.items()} for part in (slice(0, 2), slice(2, 4))]
    assert float(evaluate(faces)) == pytest.approx(float(np.mean([evaluate(half) for half in halves])), rel=1e-5)


def test_accumulated_gradients_equal_those_of_the_whole_batch():
    """Where no BatchNorm uses the batch, two parts of two faces give the same as four faces at once."""
    at_once, in_parts = (freeze("encoder", "interpreter", accumulate=count) for count in (1, 2))
    (expected, expected_metrics), (actual, metrics) = step(at_once), step(in_parts)
    for name, value in expected_metrics.items():
        assert float(metrics[name]) == pytest.approx(float(value), rel=1e-4), name
    assert updated(start(at_once).params, expected.params)
    for path, value in expected.params.items():
        np.testing.assert_allclose(actual.params[path], value, rtol=1e-5, atol=1e-6, err_msg=path)


def test_accumulation_takes_every_second_face_and_updates_the_statistics_part_by_part():
    """The gradient is the mean of the parts' gradients; the second part starts from the first one's statistics."""
    data, stats, grads = batch(8), _variables(MODEL).batch_stats, []
    for index in range(2):
        (_, stats), grad = _written_out(stats, {name: x[index::2] for name, x in data.items()})
        grads.append(grad)
    after, _ = step(dataclasses.replace(CONFIG, accumulate=2), data=data)
    assert_descended(after, jax.tree.map(lambda a, b: (a + b) / 2, *grads), stats)


def test_unknown_labels_contribute_no_loss():
    """With a column that is unknown in all faces, loss and gradient are those of a network with one AU less."""
    data = batch(unknown=[(face, 4) for face in range(4)])
    fewer = data | {"labels": data["labels"][:, :4]}

    def loss(output, config, data):
        variables = _variables(MODEL)
        params = variables.params | {"interpreter/output/kernel": output}
        return steps.batch_loss(config, dataclasses.replace(variables, params=params), data, jax.random.key(0))[0]

    descend = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    output = _variables(MODEL).params["interpreter/output/kernel"]
    value, grad = descend(output, CONFIG, data)
    expected, expected_grad = descend(output, dataclasses.replace(CONFIG, centres=CONFIG.centres[:4]), fewer)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(grad, expected_grad, rtol=1e-4, atol=1e-7)
    assert np.any(grad[..., :4]) and not np.any(grad[..., 4:])


@pytest.mark.slow
def test_randomness_depends_on_the_seed_and_the_step_alone():
    """Dropout, flip and colour: a resumed run, with the same step and seed, draws the same numbers."""
    config = dataclasses.replace(CONFIG, model=dataclasses.replace(MODEL, dropout=0.3), flip=True, colour=0.2)
    first = start(config)
    later = dataclasses.replace(first, step=jnp.int32(7))
    loss = {
        name: float(step(config, *args)[1]["loss"]) for name, args in {"first": (first,), "later": (later,)}.items()
    }
    assert loss["later"] == float(step(config, later)[1]["loss"]) != loss["first"]
    assert float(step(config, first, seed=1)[1]["loss"]) != loss["first"]


def test_evaluation_scores_the_aus_and_changes_nothing():
    """(N, K) in [-1, 1], each face independent of the others."""
    data = batch() | {"index": jnp.arange(4), "valid": jnp.ones(4, bool)}
    evaluation = evaluator.compile_eval_steps(MODEL, len(AUS), sharding.create())

    def score(data):
        return evaluation.score(_variables(MODEL), data)["scores"]

    together = score(data)
    assert together.shape == (4, len(AUS)) and np.abs(together).max() <= 1
    alone = score({name: x[2:3] for name, x in data.items()})
    np.testing.assert_allclose(alone[0], together[2], atol=1e-5)


@pytest.mark.slow
def test_bfloat16_and_recomputed_blocks_train_too():
    """The loss is near the exact one; the state stays float32."""
    _, exact = step(CONFIG)
    model = dataclasses.replace(MODEL, dtype="bfloat16", remat="blocks")
    after, approximate = step(dataclasses.replace(CONFIG, model=model))
    assert 0 < abs(float(approximate["loss"] - exact["loss"])) < 0.05 * float(exact["loss"])
    assert {str(x.dtype) for x in jax.tree.leaves(after.variables)} == {"float32"}


@pytest.mark.slow
def test_the_pixel_interpreter_learns():
    """DatasetGAN's baseline through the same step: ten steps on one batch lower the loss."""
    config = dataclasses.replace(CONFIG, model=PIXEL, optim=OptimConfig(lr=1e-2))
    current, metrics = step(config)
    first = float(metrics["loss"])
    for _ in range(10):
        current, metrics = step(config, current)
    assert float(metrics["loss"]) < 0.7 * first
    assert "interpreter" in {path.split("/")[0] for path in updated(start(config).params, current.params)}


def test_the_pixel_interpreters_first_layer_is_linear_over_the_concatenated_maps():
    """Resized to the heatmap's side (align_corners), then per pixel; the module computes it map by map."""
    rng = np.random.default_rng(0)
    sides = zip((4, 8, 16, 32), PIXEL.generator_channels, strict=True)
    features = [jnp.asarray(rng.normal(size=(2, side, side, c)).astype(np.float32)) for side, c in sides]
    interpreter = fgnet.merge(PIXEL, _variables(PIXEL)).interpreter
    resized = [shrink(f, 8) if f.shape[1] > 8 else upsample(f, 8) for f in features]
    kernel = _variables(PIXEL).params["interpreter/layers/0/kernel"][0, 0]
    bias = _variables(PIXEL).params["interpreter/layers/0/bias"]
    expected = jnp.concatenate(resized, -1) @ kernel + bias
    assert isinstance(interpreter, PixelInterpreter)
    np.testing.assert_allclose(interpreter._first_layer(features), expected, rtol=1e-4, atol=1e-5)
    assert kernel.shape == (48, 128)
    assert interpreter(features).shape == (2, 8, 8, 8)


def test_targets_of_intensity_are_drawn_at_their_heights():
    """The loss is against them; an unknown label contributes none, whatever its intensity."""
    config = dataclasses.replace(CONFIG, target=targets.INTENSITY)
    faces = batch(unknown=[(0, 1)])
    coded = jnp.where(faces["labels"] == 1, 4.0, 1.0).at[0, 1].set(5.0)
    weak, strong = (faces | {"intensities": codes} for codes in (coded, jnp.where(faces["labels"] == 1, 2.0, 0.0)))
    variables, key = _variables(MODEL), jax.random.key(0)
    losses = [float(steps.batch_loss(config, variables, part, key)[0]) for part in (weak, strong)]
    published = float(steps.batch_loss(CONFIG, variables, faces, key)[0])
    assert len({*losses, published}) == 3
    other = weak | {"intensities": coded.at[0, 1].set(0.0)}
    assert float(steps.batch_loss(config, variables, other, key)[0]) == losses[0]


def test_a_weighted_loss_is_the_same_in_parts():
    """Unknown labels, which are more in one part than in the other, positive weights and a focal factor together."""
    loss = LossConfig(positive_weights=(3.0, 0.5, 1.0, 8.0, 2.0), focal=1.0)
    data = batch(unknown=[(0, 0), (2, 0), (0, 1), (1, 4), (2, 4), (3, 3)])
    at_once, in_parts = (freeze("encoder", "interpreter", accumulate=count, loss=loss) for count in (1, 2))
    (expected, expected_metrics), (actual, metrics) = step(at_once, data=data), step(in_parts, data=data)
    for name, value in expected_metrics.items():
        assert float(metrics[name]) == pytest.approx(float(value), rel=1e-4), name
    for path, value in expected.params.items():
        np.testing.assert_allclose(actual.params[path], value, rtol=1e-5, atol=1e-6, err_msg=path)
    published = step(freeze("encoder", "interpreter"), data=data)[1]
    assert float(published["loss"]) != pytest.approx(float(expected_metrics["loss"]), rel=1e-2)


def test_averages_follow_what_is_trained():
    """Parameters and BatchNorm's statistics, by a decay that grows from 1/10; frozen ones are evaluated as they are."""
    config = freeze("encoder", ema=0.15)
    current = state.create(_variables(MODEL), config.optim, optimizer(config.optim, 10), averaged=True)
    averages = dict(current.averages)
    assert set(averages) == {p for p in current.params if optimizer_lib.is_trained(p, config.optim)} | set(
        current.batch_stats
    )
    for decay in (1 / 10, 0.15, 0.15):  # 2/11 and 3/12 are more
        current, _ = step(config, current)
        values = current.params | current.batch_stats
        averages = {path: decay * old + (1 - decay) * values[path] for path, old in averages.items()}
        for path, value in averages.items():
            np.testing.assert_allclose(current.averages[path], value, rtol=1e-5, atol=1e-6, err_msg=path)
    evaluated = current.evaluated
    assert updated(current.params, evaluated.params) == {p for p in averages if p in current.params}
    assert all(evaluated.params[path] is current.averages[path] for path in averages if path in current.params)
    assert set(evaluated.batch_stats) == set(current.batch_stats)


def test_without_averages_the_state_is_as_it_was():
    """No array more, and what is evaluated is what is trained."""
    current = start(CONFIG)
    assert current.averages == {} and current.evaluated.params == current.params


def test_frozen_modules_keep_their_bits():
    """Within parts that are trained; their BatchNorm's statistics go on."""
    config = dataclasses.replace(CONFIG, optim=dataclasses.replace(SGD, frozen=("encoder/body/0", "generator/mapping")))
    before, (after, _) = start(config), step(config)
    changed = updated(before.params, after.params)
    assert changed and not any(path.startswith(("encoder/body/0/", "generator/mapping/")) for path in changed)
    assert any(path.startswith("encoder/body/0/") for path in updated(before.batch_stats, after.batch_stats))


def test_validation_errors_are_those_of_the_targets():
    """By face and AU; their mean is the published loss of the same heatmaps."""
    data = batch(unknown=[(1, 2)]) | {"index": jnp.arange(4), "valid": jnp.ones(4, bool)}
    compiled = evaluator.compile_eval_steps(MODEL, len(AUS), sharding.create(), CONFIG)
    found = {name: np.asarray(x) for name, x in compiled.score(_variables(MODEL), data).items()}
    maps = compiled.heatmaps(_variables(MODEL), data)
    expected = targets.targets(data["landmarks"], data["labels"], CONFIG.centres, size=8, image_size=16)
    np.testing.assert_allclose(found["errors"], jnp.square(maps - expected).mean((1, 2)), rtol=1e-4, atol=1e-6)
    scored = evaluator.ScoredFaces(found["scores"], found["labels"], found["index"], found["errors"])
    assert scored.loss() == pytest.approx(float(heatmap_loss(maps, expected, data["labels"] >= 0)), rel=1e-5)
