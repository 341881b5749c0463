"""The paper's results: consistent with each other, and found for synthetic stand-ins, too."""

import numpy as np
import pytest

from fgnet_jax.evaluate import published


def test_the_published_mean_is_that_of_its_aus():
    """Compare to the digit that the paper prints."""
    for source, target in (("bp4d", "disfa"), ("disfa", "bp4d")):
        paper = published.row(source, target)
        assert paper and np.mean(list(paper.f1.values())) == pytest.approx(paper.mean, abs=6e-4)


def test_synthetic_corpora_have_the_row_of_the_real_one():
    """Find it whatever the configuration, under a name that tells them apart; find none for other corpora."""
    row = published.row("synthetic_bp4d/frames3600_seed0_1", "synthetic_disfa")
    assert row and row.name == "FG-Net, BP4D to DISFA (real faces)"
    assert published.row("synthetic_bp4d", "csv") is None
