"""The loss, against the published formula written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
