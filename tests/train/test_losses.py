"""The loss, against the published formula written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.train import losses
from fgnet_jax.train.losses import heatmap_loss


def _maps(seed=0, shape=(3, 4, 4, 5)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_mean_over_aus_of_their_mean_squared_errors():
    """The published loss: torch's `mse_loss` of each AU's channel, added up and divided by their number."""
    torch = pytest.importorskip("torch")
    heatmaps, targets = _maps(0), _maps(1)[..., :2]
    actual = heatmap_loss(jnp.asarray(heatmaps), jnp.asarray(targets), jnp.ones((3, 2), bool))
    pairs = [(torch.tensor(heatmaps[..., k]), torch.tensor(targets[..., k])) for k in range(2)]
    expected = sum(torch.nn.functional.mse_loss(*pair) for pair in pairs) / 2
    assert float(actual) == pytest.approx(float(expected), rel=1e-6)


def test_an_unknown_label_contributes_no_loss():
    """Neither value nor gradient, while the known ones of the same AU keep their mean."""
    heatmaps, targets = jnp.asarray(_maps(0)), jnp.asarray(_maps(1))
    known = jnp.ones((3, 5), bool).at[1, 2].set(False)
    value, grad = jax.value_and_grad(heatmap_loss)(heatmaps, targets, known)
    errors = np.square(_maps(0) - _maps(1)).mean((1, 2))
    per_au = errors.mean(0)
    per_au[2] = (errors[0, 2] + errors[2, 2]) / 2
    assert float(value) == pytest.approx(per_au.mean(), rel=1e-5)
    assert not np.any(grad[1, :, :, 2]) and np.all(grad[0, :, :, 2] != 0)


def test_an_au_that_is_unknown_in_the_whole_batch_is_left_out_of_the_mean():
    """And the loss of a batch without any label is 0, not NaN."""
    heatmaps, targets = jnp.asarray(_maps(0)), jnp.asarray(_maps(1))
    known = jnp.ones((3, 5), bool).at[:, 4].set(False)
    others = heatmap_loss(heatmaps[..., :4], targets[..., :4], known[:, :4])
    assert float(heatmap_loss(heatmaps, targets, known)) == pytest.approx(float(others), rel=1e-6)
    value, grad = jax.value_and_grad(heatmap_loss)(heatmaps, targets, jnp.zeros((3, 5), bool))
    assert value == 0 and not np.any(grad)


LABELS = np.array([[1, 0, -1, 1, -1], [0, 0, -1, 1, 1], [-1, 1, -1, 0, 1], [1, 1, -1, 0, 0]], np.int8)
"""Of four faces and five AUs; the third AU is unknown in all of them."""

POSITIVE = (2.0, 5.0, 3.0, 0.5, 1.0)


def _direct(heatmaps, targets, labels, *, positive=(1.0,) * 5, gamma=0.0):
    """Compute the weighted loss in loops, in float64: the mean over known AUs of the mean over known faces."""
    per_au = []
    for au in range(labels.shape[1]):
        terms = []
        for face in np.flatnonzero(labels[:, au] >= 0):
            error = (heatmaps[face, :, :, au] - targets[face, :, :, au]).astype(np.float64)
            factor = np.where(np.abs(error) < 2, (np.abs(error) / 2) ** gamma, 1.0)
            terms.append((positive[au] if labels[face, au] == 1 else 1.0) * np.mean(factor * error**2))
        if terms:
            per_au.append(np.mean(terms))
    return np.mean(per_au)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("positive", [(), POSITIVE])
def test_weights_equal_the_direct_computation(positive, gamma):
    """Positive weights and the focal factor, alone and together, with unknown labels; some errors are above 2."""
    heatmaps, targets = 2 * _maps(0, (4, 3, 3, 6)), np.clip(_maps(1, (4, 3, 3, 5)), -1, 1)
    weights = losses.face_weights(jnp.asarray(LABELS), positive)
    actual = losses.weighted_heatmap_loss(jnp.asarray(heatmaps), jnp.asarray(targets), weights, focal=gamma)
    expected = _direct(heatmaps, targets, LABELS, positive=positive or (1.0,) * 5, gamma=gamma)
    assert float(actual) == pytest.approx(expected, rel=1e-5)


def test_without_weights_it_is_the_published_loss():
    """Also where labels are unknown."""
    heatmaps, targets = jnp.asarray(_maps(0, (4, 3, 3, 5))), jnp.asarray(_maps(1, (4, 3, 3, 5)))
    actual = losses.weighted_heatmap_loss(heatmaps, targets, losses.face_weights(jnp.asarray(LABELS)))
    assert float(actual) == pytest.approx(float(heatmap_loss(heatmaps, targets, jnp.asarray(LABELS >= 0))), rel=1e-6)


def test_parts_of_a_batch_add_up_to_the_whole():
    """The mean over its parts is the loss of the batch, though an AU is known in one part alone."""
    heatmaps, targets = jnp.asarray(_maps(0, (4, 3, 3, 5))), jnp.asarray(_maps(1, (4, 3, 3, 5)))
    weights = losses.face_weights(jnp.asarray(LABELS), POSITIVE)
    parts = [losses.weighted_heatmap_loss(heatmaps[k::2], targets[k::2], weights[k::2], focal=1.0) for k in range(2)]
    whole = losses.weighted_heatmap_loss(heatmaps, targets, weights, focal=1.0)
    assert float(sum(parts)) / 2 == pytest.approx(float(whole), rel=1e-6)


def test_an_unknown_label_has_no_weight_and_no_gradient():
    """And a batch without any label has loss 0."""
    heatmaps, targets = jnp.asarray(_maps(0, (4, 3, 3, 5))), jnp.asarray(_maps(1, (4, 3, 3, 5)))
    weights = losses.face_weights(jnp.asarray(LABELS), POSITIVE)
    grad = jax.grad(losses.weighted_heatmap_loss)(heatmaps, targets, weights, focal=0.5)
    is_zero = ~np.any(np.asarray(grad), axis=(1, 2))
    np.testing.assert_array_equal(is_zero, LABELS < 0)
    none = losses.face_weights(jnp.full((4, 5), -1, jnp.int8), POSITIVE)
    assert float(losses.weighted_heatmap_loss(heatmaps, targets, none)) == 0


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_focal_gradient_is_that_of_a_higher_power(gamma):
    """(2 + gamma) / 2^gamma |e|^(1 + gamma): finite where there is no error, too."""
    error = np.array([-1.5, -0.5, 0.0, 0.25, 1.9], np.float32)
    grad = jax.grad(lambda h: losses.focal_errors(h, jnp.zeros(5), gamma).sum())(jnp.asarray(error))
    expected = (2 + gamma) / 2**gamma * np.abs(error) ** (1 + gamma) * np.sign(error)
    np.testing.assert_allclose(grad, expected, rtol=1e-5)


def test_inverse_frequencies():
    """Absent faces over present ones; unknown labels count as neither, and an AU without both kinds has weight 1."""
    labels = np.array([[1, 0, 1, -1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, -1, 0], [-1, 0, 1, -1]], np.int8)
    assert losses.inverse_frequency(labels) == (3.0, 1.0, 1.0, 0.5)
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    absent, present = sklearn.compute_class_weight("balanced", classes=np.array([0, 1]), y=labels[:4, 0])
    assert losses.inverse_frequency(labels)[0] == pytest.approx(present / absent)
