"""The search for settings that fit, with functions in place of the compiler."""

import dataclasses

from fgnet_jax.train.proposals import Setting, Trial, at_least, candidates, larger, search
from tests.train import tiny

GIVEN = Setting(target="v5e:2x2", devices=4, batch_size=16)
GIB = 2**30
STATE, AN_IMAGE, AN_IMAGE_WITH_REMAT = 10 * GIB, 5 * GIB, 2 * GIB


def arguments(setting: Setting) -> int:
    """Bytes of a state, of which each device has a share where parameters are split."""
    return STATE // setting.devices if setting.shard_params else STATE


def attempt(setting: Setting, memory: int) -> Trial:
    """A compiler for which an image takes 5 GiB, and 2 with remat."""
    each = AN_IMAGE if setting.remat == "none" else AN_IMAGE_WITH_REMAT
    needed = arguments(setting) + each * setting.images
    return Trial(setting, needed <= memory, arguments(setting), needed)


def found(given: Setting, memory: int) -> tuple[list[str], list[str]]:
    """The flags that the search proposes on devices of so many GiB, and its lines."""
    lines: list[str] = []
    result = search(
        attempt(given, memory * GIB),
        candidates(given),
        attempt=lambda setting: attempt(setting, memory * GIB),
        arguments=arguments,
        memory=memory * GIB,
        report=lines.append,
    )
    return result.setting.flags(given) if result else [], lines


def test_what_leaves_the_results_as_they_are_comes_first():
    """Split parameters, then recomputation, then both."""
    assert found(GIVEN, memory=24)[0] == ["--config.train.shard_params=True"]
    assert found(GIVEN, memory=20)[0] == ["--config.model.remat=blocks"]
    assert found(GIVEN, memory=11)[0] == ["--config.model.remat=blocks", "--config.train.shard_params=True"]


def test_then_smaller_parts_as_few_as_possible():
    """What needs too much by the figures so far is not compiled."""
    flags, lines = found(GIVEN, memory=9)
    both = "--config.model.remat=blocks --config.train.shard_params=True"
    assert " ".join(flags) == f"--config.train.accumulate=2 {both}"
    assert lines == [
        "trying: --config.train.shard_params=True",
        "left out: --config.model.remat=blocks: needs 16.00 GiB at least",
        f"trying: {both}",
        "left out: --config.train.accumulate=2: needs 20.00 GiB at least",
        "left out: --config.train.accumulate=2 --config.train.shard_params=True: needs 12.50 GiB at least",
        "left out: --config.train.accumulate=2 --config.model.remat=blocks: needs 13.00 GiB at least",
        f"trying: --config.train.accumulate=2 {both}",
    ]


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
