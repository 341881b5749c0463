"""AU tables: what a corpus' labels have and what the published weights predict are two things."""

import pytest

from convert_weights import convert
from fgnet_jax import aus
from fgnet_jax.data.synthetic import corpus as synthetic
from fgnet_jax.models.config import TINY
from fgnet_jax.prepare.builders import Disfa
from tests.convert_weights import fileset

DISFA = (1, 2, 4, 6, 9, 12, 25, 26)
LONGER = (*DISFA, 43)


def test_an_au_added_to_a_corpus_does_not_change_the_published_weights(tmp_path, monkeypatch):
    """`convert_weights --corpus disfa` names eight AUs, whatever DISFA's labels have here; the corpora follow."""
    files = fileset.make(tmp_path)
    monkeypatch.setitem(aus.CORPUS_AUS, "disfa", LONGER)
    monkeypatch.setitem(aus.NAMES, 43, "eye closure")
    assert convert.trained(files.model, files.encoder, TINY, "disfa").meta.aus == DISFA
    assert _aus_of_disfa(tmp_path) == LONGER


def test_another_order_of_published_channels_does_not_change_the_corpora(tmp_path, monkeypatch):
    """Converted weights follow it; a prepared corpus and a synthetic one do not."""
    files = fileset.make(tmp_path)
    monkeypatch.setitem(aus.PUBLISHED_CHANNELS, "disfa", DISFA[::-1])
    assert convert.trained(files.model, files.encoder, TINY, "disfa").meta.aus == DISFA[::-1]
    assert _aus_of_disfa(tmp_path) == DISFA
    assert {recording.aus for recording in synthetic.recordings("disfa", 27)} == {DISFA}


def _aus_of_disfa(tmp_path) -> tuple[int, ...]:
    """AUs that the builder of DISFA names where nothing is prepared yet."""
    metadata = Disfa(data_dir=str(tmp_path / "data")).info.metadata
    assert metadata is not None
    return tuple(metadata["aus"])


@pytest.mark.parametrize("corpus", ["bp4d", "disfa"])
def test_published_channels_are_aus_that_are_known(corpus):
    """Each has a name and a centre, and comes once."""
    channels = aus.PUBLISHED_CHANNELS[corpus]
    assert len(set(channels)) == len(channels) and set(channels) <= aus.NAMES.keys() & aus.CENTRES.keys()


def test_labels_of_aus():
    """Two digits."""
    assert [aus.label(au) for au in (6, 12)] == ["AU06", "AU12"]
