"""The search for settings that fit, with functions in place of the compiler."""

import dataclasses

import pytest

from fgnet_jax.train.proposals import Setting, Trial, at_least, candidates, estimate, larger, search
from tests.train import tiny

GIVEN = Setting(target="v5e:2x2", devices=4, batch_size=16)
GIB = 2**30
STATE = 9 * GIB
AN_IMAGE = 3 * GIB


def arguments(setting: Setting) -> int:
    """Bytes of a state, of which each device has a share where parameters are split."""
    return STATE // setting.devices if setting.shard_params else STATE


def needed(setting: Setting, remat_leaves: float = 2 / 3) -> int:
    """Bytes of state, gradients and activations: 3 GiB an image, two thirds with remat, a tenth more in parts."""
    share = (remat_leaves if setting.remat == "blocks" else 1) * (1 if setting.accumulate == 1 else 1.1)
    gradients = 1 if setting.accumulate == 1 else 2
    return int(arguments(setting) * (1 + gradients / 3) + AN_IMAGE * share * setting.images)


def found(given: Setting, memory: int, remat_leaves: float = 2 / 3) -> tuple[list[str], list[str]]:
    """The flags that the search proposes on devices of so many GiB, and its lines."""
    lines: list[str] = []

    def attempt(setting: Setting) -> Trial:
        size = needed(setting, remat_leaves)
        return Trial(setting, size <= memory * GIB, arguments(setting), size)

    result = search(
        attempt(given),
        candidates(given),
        attempt=attempt,
        arguments=arguments,
        memory=memory * GIB,
        report=lines.append,
    )
    return result.setting.flags(given) if result else [], lines


def tried(lines: list[str]) -> list[str]:
    """The flags of those that were compiled, without the bytes that were expected."""
    return [line.removeprefix("trying: ").partition(" (")[0] for line in lines if line.startswith("trying: ")]


SPLIT, REMAT = "--config.train.shard_params=True", "--config.model.remat=blocks"


def test_what_leaves_the_results_as_they_are_comes_first():
    """Split parameters, then recomputation, then both; what is not expected to fit is not tried before."""
    one_device = dataclasses.replace(GIVEN, target="v5e:1x1", devices=1, batch_size=4)
    assert found(GIVEN, memory=23)[0] == [SPLIT]
    assert found(one_device, memory=22)[0] == [REMAT]
    flags, lines = found(GIVEN, memory=13)
    assert flags == [REMAT, SPLIT]
    assert [line for line in lines if line.startswith("trying: ")] == [
        f"trying: {REMAT} {SPLIT} (about 11.40 GiB, by what was compiled)"
    ]


def test_then_smaller_parts_as_few_as_possible():
    """One compilation is enough; what needs too much in any case is said to be left out."""
    flags, lines = found(GIVEN, memory=11)
    assert " ".join(flags) == f"--config.train.accumulate=2 {SPLIT}"
    assert tried(lines) == [f"--config.train.accumulate=2 {SPLIT}"]
    assert f"left out: {REMAT}: needs 13.50 GiB at least" in lines
    assert "left out: --config.train.accumulate=2: needs 16.50 GiB at least" in lines


def test_a_wrong_expectation_is_corrected_by_what_was_compiled():
    """Recomputation that saves little: the next one that is likely is tried."""
    flags, lines = found(GIVEN, memory=12, remat_leaves=0.9)
    assert tried(lines) == [f"{REMAT} {SPLIT}", f"--config.train.accumulate=2 {SPLIT}"]
    assert tried(lines)[-1] == " ".join(flags)


def test_a_batch_in_parts_has_more_gradients():
    """8 images of 16 at once need more than 8 of 8: the sum of the parts' gradients is kept, too."""
    half = dataclasses.replace(GIVEN, batch_size=8)
    parts = dataclasses.replace(GIVEN, accumulate=2)
    trial = Trial(half, False, STATE, needed(half))
    assert estimate(parts, [trial], arguments) == pytest.approx(needed(parts))
    assert needed(parts) == pytest.approx(needed(half) + STATE / 3 + 0.1 * 2 * AN_IMAGE)


def test_the_published_step_on_an_h100():
    """256 images in bfloat16, by compiled programs: 102.6 GiB; in two parts 60.3 of 59.3, which is not tried."""
    given = Setting(target="h100", devices=1, batch_size=256)
    state, lines = int(3.67 * GIB), []
    result = search(
        Trial(given, False, state, int(102.55 * GIB)),
        candidates(given),
        attempt=lambda setting: Trial(setting, True, state, None),
        arguments=lambda setting: state,
        memory=int(59.33 * GIB),
        report=lines.append,
    )
    assert result is not None
    assert result.setting.flags(given) == ["--config.train.accumulate=2", REMAT]
    assert len(tried(lines)) == 1


def test_without_known_bytes_the_first_is_tried():
    """Of a device whose memory is not known, and where the compiler named no bytes."""
    for size, memory in ((None, 16 * GIB), (40 * GIB, 0)):
        lines: list[str] = []
        search(
            Trial(GIVEN, False, STATE, size),
            candidates(GIVEN),
            attempt=lambda setting: Trial(setting, True, STATE, None),
            arguments=arguments,
            memory=memory,
            report=lines.append,
        )
        assert tried(lines) == [SPLIT]


def test_then_more_devices_and_last_a_smaller_batch():
    """Where a device has one image already, and where there are no more devices."""
    least = Setting(target="v5e:1x1", devices=1, batch_size=16, accumulate=16, remat="blocks")
    assert [setting.batch_size for setting in candidates(least)] == [8, 4, 2, 1]
    one_part = dataclasses.replace(least, accumulate=4)
    assert [(setting.target, setting.accumulate, setting.batch_size) for setting in candidates(one_part)] == [
        ("v5e:1x1", 8, 16),
        ("v5e:1x1", 16, 16),
        ("v5e:2x2", 4, 16),
        *(("v5e:1x1", 1, size) for size in (8, 4, 2, 1)),
    ]


def test_nothing_may_fit():
    """Then there is no proposal."""
    assert found(GIVEN, memory=3)[0] == []


def test_the_estimate_is_from_below():
    """Temporaries that do not shrink with the images would only add to it; recomputation leaves three tenths."""
    first = Trial(GIVEN, False, arguments=STATE, needed=STATE + 20 * GIB)
    half = dataclasses.replace(GIVEN, accumulate=2)
    assert at_least(half, [first], arguments) == STATE + 10 * GIB
    assert at_least(dataclasses.replace(half, remat="blocks"), [first], arguments) == STATE + 3 * GIB
    assert at_least(half, [dataclasses.replace(first, needed=None)], arguments) == STATE


def test_the_next_larger_targets():
    """Shapes that a TPU has; GPUs by twos."""

    def names(target: str, devices: int) -> list[str]:
        return [name for name, _ in larger(Setting(target, devices, 16))][:3]

    assert names("v5e:1x1", 1) == ["v5e:2x2", "v5e:2x4", "v5e:4x4"]
    assert names("v4:2x2x1", 4) == ["v4:2x2x2", "v4:2x2x4", "v4:2x4x4"]
    assert names("h100", 1) == ["h100:2", "h100:4", "h100:8"]
    assert names("cpu", 1) == []
    assert next(larger(Setting("v3:2x2", 8, 16))) == ("v3:2x4", 16)  # two devices a chip


def test_a_setting_changes_a_configuration():
    """A copy of it, in the keys that its flags name."""
    config = tiny.config()
    changed = dataclasses.replace(GIVEN, accumulate=2, remat="blocks", shard_params=True).apply(config)
    assert (changed.train.batch_size, changed.train.accumulate) == (16, 2)
    assert (changed.model.remat, changed.train.shard_params) == ("blocks", True)
    assert (config.train.accumulate, config.model.remat) == (1, "none")
