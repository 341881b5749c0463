"""The page without a browser: what is written on it for these weights."""

from fgnet_jax.app import page
from fgnet_jax.models.weights import WeightsMeta


def test_weights_that_know_rendered_faces_only_have_a_banner():
    """Above everything that is dropped on the page; others have none."""
    banner = "These weights have learnt from rendered faces only: scores of real faces mean nothing."
    for corpus, is_rendered in (("synthetic_disfa", True), ("disfa", False)):
        text = page.head(WeightsMeta(aus=(1,), corpus=corpus, extra={"trained_on": {"corpus": corpus}}))
        assert (banner in text and 'role="alert"' in text) == is_rendered and "Facial action units" in text
