"""Hostile files, each in a process of its own: a short message, little memory, and nothing left behind."""

import pytest

from tests.convert_weights import hostile, measured

MEBIBYTES, CHARACTERS = 300, 20_000


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes(files, tmp_path_factory):
    """Convert all of the files, and remove them, since they are large."""
    folder = tmp_path_factory.mktemp("hostile")
    hostile.save(folder, files.states, files.latent_avg)
    outcomes = measured.convert_all(folder)
    for path in folder.iterdir():
        path.unlink()
    return {outcome.file: outcome for outcome in outcomes}


def test_all_are_refused(outcomes):
    """No traceback (RecursionError among them), no signal, no code: each ends with status 1, and leaves nothing."""
    assert len(outcomes) > 60
    assert not [outcome for outcome in outcomes.values() if outcome.status != 1 or outcome.left or outcome.report]


def test_memory(outcomes):
    """None takes more than 300 MB beyond what the program has."""
    assert not [outcome for outcome in outcomes.values() if outcome.mebibytes > MEBIBYTES]


def test_messages_are_short_and_safe(outcomes):
    """Messages have no control characters, no line that is not ours, and no megabytes."""
    for outcome in outcomes.values():
        lines = outcome.error.removesuffix("\n").split("\n")
        assert len(outcome.error) < CHARACTERS and all(line.isprintable() and line.isascii() for line in lines), outcome
        assert "error: " in lines[0] and all(line.startswith("  ") for line in lines[1:]), outcome


@pytest.mark.parametrize(
    "file, message",
    [
        ("option_bottomless.encoder", "encoder_type is a list, expected GradualStyleEncoder"),
        ("option_nested.encoder", "encoder_type is a list, expected GradualStyleEncoder"),
        ("option_huge.encoder", "encoder_type is a Text"),
        ("option_escapes.encoder", r"encoder_type is \x1b[2J\x1b]0;owned\x07\nfgnet_jax: wrote everything\r, expected"),
        ("architecture_bottomless.generator", "architecture is a list, expected skip"),
        ("architecture_nested.generator", "architecture is a list, expected skip"),
        ("dtype_bottomless.generator", "dtype 'a list'"),
        ("order_bottomless.generator", "byte order 'a list'"),
        ("storage_bottomless.fgnet", "a storage without a name or a size"),
        ("keys_bottomless.fgnet", "its list of storages differs"),
        ("entry_bottomless.encoder", "has unknown entries: entry"),
        ("module_huge.generator", "a global's name is not a string"),
        ("global_huge.generator", "a name or number of 50,000,000 bytes"),
        ("global_escapes.generator", r"refers to \x1b[2J"),
        ("many_unknown.generator", "has 300,000 entries, far more than any network: tensor0, tensor1, "),
        ("many_unknown.generator", "and 299,980 more"),
        ("many_parts.generator", "a network of more than 10,000 tensors and parts"),
        ("many_members.generator", "its zip directory has"),
        ("one_storage.fgnet", "its compressed storages have far more bytes than the file"),
        ("same_hash_keys.fgnet", "for a key"),
        ("nan.encoder", "values are NaN or infinite"),
        ("size_wides.generator", "characters of text, which no weights need"),
    ],
)
def test_what_is_said(outcomes, file, message):
    """The message names what is wrong, cut where the file's own words are long."""
    assert message in outcomes[file].error
