"""What is written on the page for these weights."""

import dataclasses

from fgnet_jax.app import rendering
from fgnet_jax.models.weights import WeightsMeta


def test_weights_that_know_rendered_faces_only_have_a_banner(detector):
    """Above everything that is dropped on the page; others have none."""
    banner = "These weights have learnt from rendered faces only: scores of real faces mean nothing."
    for corpus, is_rendered in (("synthetic_disfa", True), ("disfa", False)):
        meta = WeightsMeta(aus=(1,), corpus=corpus, extra={"trained_on": {"corpus": corpus}})
        text = rendering.head(dataclasses.replace(detector, meta=meta), "demo")
        assert (banner in text and 'role="alert"' in text) == is_rendered and "Facial action units" in text
        assert "inner brow raiser" in text and f"for {corpus}" in text and "<b>demo</b>" in text
