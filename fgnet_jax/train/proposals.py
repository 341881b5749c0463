"""Settings with which a run fits where it did not, found by compiling as few of them as possible.

A compilation takes minutes. What earlier ones needed says which setting is likely to fit, and which cannot: the least
intrusive of the likely ones is tried first.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

from fgnet_jax.runtime.topologies import GIB
from fgnet_jax.train.defaults import Config

LARGEST = 512
"""Devices of the largest topology that is tried."""

GRADIENTS = 1 / 3
"""Gradients' share of the bytes of a state, which has as many for parameters and for each of two moments."""

REMAT_LEAVES = 0.7
"""Share of the activations' bytes that `remat` leaves, as on an H100 (full size, bfloat16: 0.67 to 0.77)."""

PARTS_TAKE = 1.1
"""Activations of a part of a batch, compared with those of as many images at once (likewise: 54 of 49 GiB)."""

LIKELY = 0.95
"""Share of the memory up to which a setting is expected to fit."""

REMAT_LEAVES_AT_LEAST = 0.3
"""The least share of all temporaries that it leaves."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What decides how much memory a training step takes.

    Attributes:
      target: Devices to compile for, such as `v5e:2x2`.
      devices: Their number.
      batch_size: Images a step, over all devices.
      accumulate: Parts that a batch is split into.
      remat: What the backward pass recomputes.
      shard_params: Whether parameters are split over the devices.
    """

    target: str
    devices: int
    batch_size: int
    accumulate: int = 1
    remat: str = "none"
    shard_params: bool = False

    @property
    def images(self) -> int:
        """Images that a device computes at once."""
        return self.batch_size // (self.devices * self.accumulate)

    @property
    def gradients(self) -> float:
        """Bytes of gradients, as a share of those of the state: of a part of the batch, and the sum of the parts'."""
        return GRADIENTS * min(self.accumulate, 2)

    def flags(self, given: "Setting") -> list[str]:
        """Return the flags that change another setting to this one."""
        keys = {
            "--compile_for": "target",
            "--config.train.batch_size": "batch_size",
            "--config.train.accumulate": "accumulate",
            "--config.model.remat": "remat",
            "--config.train.shard_params": "shard_params",
        }
        changed = {flag: getattr(self, key) for flag, key in keys.items() if getattr(self, key) != getattr(given, key)}
        return [f"{flag}={value}" for flag, value in changed.items()]

    def apply(self, config: Config) -> Config:
        """Return a copy of a configuration with this setting."""
        changed = config.copy_and_resolve_references()
        changed.train.batch_size, changed.train.accumulate = self.batch_size, self.accumulate
        changed.model.remat, changed.train.shard_params = self.remat, self.shard_params
        return changed


Arguments = Callable[[Setting], int]
"""Computes the bytes of a setting's arguments on a device."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """What compiling a setting showed.

    Attributes:
      setting: The setting.
      fits: Whether a device has memory for it.
      arguments: Bytes of a device's arguments.
      needed: Bytes that a device needs; None where the compiler named none.
      seconds: The least time of a step; None if not known.
    """

    setting: Setting
    fits: bool
    arguments: int
    needed: int | None
    seconds: float | None = None

    @property
    def temporaries(self) -> int | None:
        """Bytes beside the arguments."""
        return None if self.needed is None else self.needed - self.arguments


def search(
    first: Trial,
    candidates: Sequence[Setting],
    *,
    attempt: Callable[[Setting], Trial],
    arguments: Arguments,
    memory: int,
    report: Callable[[str], None],
) -> Trial | None:
    """Compile candidates until one fits: each time the first of those left that is likely to.

    Args:
      first: The setting that did not fit.
      candidates: Settings to try, the least intrusive first.
      attempt: Compiles a setting.
      arguments: Computes the bytes of a setting's arguments.
      memory: Bytes of a device; 0 if unknown.
      report: Prints a line of progress.

    Returns:
      The first trial that fits, or None.
    """
    trials, left = [first], list(candidates)
    while left := _possible(left, trials, arguments, memory=memory, report=report):
        setting, expected = _likely(left, trials, arguments, memory=memory)
        likely = f" (about {expected / GIB:.2f} GiB, by what was compiled)" if expected else ""
        report(f"trying: {_change(setting, first)}{likely}")
        trial = attempt(setting)
        if trial.fits:
            return trial
        trials.append(trial)
        left.remove(setting)
    return None


def _change(setting: Setting, first: Trial) -> str:
    return " ".join(setting.flags(first.setting))


def _possible(
    left: Sequence[Setting],
    trials: Sequence[Trial],
    arguments: Arguments,
    *,
    memory: int,
    report: Callable[[str], None],
) -> list[Setting]:
    """Return the settings that may fit, and report the others."""
    if not memory:
        return list(left)
    least = {setting: at_least(setting, trials, arguments) for setting in left}
    for setting in left:
        if least[setting] > memory:
            report(f"left out: {_change(setting, trials[0])}: needs {least[setting] / GIB:.2f} GiB at least")
    return [setting for setting in left if least[setting] <= memory]


def _likely(
    left: Sequence[Setting], trials: Sequence[Trial], arguments: Arguments, *, memory: int
) -> tuple[Setting, float | None]:
    """Return the first setting that is expected to fit, or else the one that needs least, with its expected bytes."""
    expected = {setting: estimate(setting, trials, arguments) for setting in left}
    known = {setting: size for setting, size in expected.items() if size is not None}
    if not memory or not known:
        return left[0], expected[left[0]]
    likely = [(setting, size) for setting, size in known.items() if size <= LIKELY * memory]
    return likely[0] if likely else min(known.items(), key=lambda pair: pair[1])


def estimate(setting: Setting, trials: Sequence[Trial], arguments: Arguments) -> float | None:
    """Estimate the bytes that a setting needs, from the one that is most like it; None if none has known bytes.

    Its temporaries are gradients, with those of the earlier parts of the batch, and activations, in proportion to the
    images.
    """
    known = [(trial, trial.temporaries) for trial in trials if trial.temporaries is not None]
    if not known:
        return None
    trial, temporaries = min(known, key=lambda pair: _distance(pair[0].setting, setting))
    activations = max(0.0, temporaries - trial.arguments * trial.setting.gradients)
    activations *= setting.images / trial.setting.images
    if (setting.accumulate > 1) != (trial.setting.accumulate > 1):
        activations *= PARTS_TAKE if setting.accumulate > 1 else 1 / PARTS_TAKE
    if setting.remat != trial.setting.remat:
        activations *= REMAT_LEAVES if trial.setting.remat == "none" else 1 / REMAT_LEAVES
    return arguments(setting) * (1 + setting.gradients) + activations


def _distance(setting: Setting, other: Setting) -> tuple[bool, bool, float]:
    """Return how much two settings differ: in what is computed, where it is kept, in the number of images."""
    images = abs(math.log(setting.images / other.images))
    return setting.remat != other.remat, setting.shard_params != other.shard_params, images


def at_least(setting: Setting, trials: Sequence[Trial], arguments: Arguments) -> float:
    """Estimate, from below, the bytes of a setting by what others needed that differ in fewer images or in remat.

    Of temporaries, at most the share of the images goes away.
    """
    bounds = [0.0]
    for trial in trials:
        if trial.temporaries is None or trial.setting.shard_params != setting.shard_params:
            continue
        share = min(1.0, setting.images / trial.setting.images)
        if setting.remat != trial.setting.remat:
            share *= REMAT_LEAVES_AT_LEAST
        bounds.append(trial.temporaries * share)
    return arguments(setting) + max(bounds)


def candidates(given: Setting) -> list[Setting]:
    """List settings to try in place of one that does not fit.

    First what leaves the results as they are: parameters split over the devices, and recomputation (a third more time).
    Then smaller parts, whose BatchNorm sees fewer images at once; more devices; and last a smaller batch, which is
    another recipe.
    """
    bases = _unchanged_results(given)
    parts = [base_with for base in bases for base_with in _accumulated(base)]
    # One change before two, few parts before many.
    parts.sort(key=lambda setting: (setting.accumulate, len(setting.flags(given))))
    same_results = [setting for setting in bases if setting != given]
    more = [dataclasses.replace(given, target=name, devices=count) for name, count in larger(given)]
    more = [setting for setting in more if setting.batch_size % (setting.devices * setting.accumulate) == 0]
    return [*same_results, *parts, *more, *_smaller_batches(bases[-1])]


def _unchanged_results(given: Setting) -> list[Setting]:
    """Return the setting, and those of the same results that save memory: one change, then two."""
    found = [given]
    if given.devices > 1 and not given.shard_params:
        found.append(dataclasses.replace(given, shard_params=True))
    if given.remat == "none":
        found += [dataclasses.replace(setting, remat="blocks") for setting in found]
    return found


def _accumulated(given: Setting) -> Iterator[Setting]:
    """Yield the setting in twice, four times … as many parts, while every device has an image in each."""
    parts = 2 * given.accumulate
    while given.batch_size % (given.devices * parts) == 0:
        yield dataclasses.replace(given, accumulate=parts)
        parts *= 2


def _smaller_batches(given: Setting) -> Iterator[Setting]:
    """Yield the setting with a half, a quarter … of the batch, in one part."""
    size = given.batch_size // 2
    while size and size % given.devices == 0:
        yield dataclasses.replace(given, batch_size=size, accumulate=1)
        size //= 2


def larger(given: Setting) -> Iterator[tuple[str, int]]:
    """Yield the next larger targets of a kind with their numbers of devices: v5e:2x4 and v5e:4x4 for v5e:2x2."""
    kind, _, numbers = given.target.partition(":")
    if kind == "cpu":
        return
    sizes = [int(size) for size in (numbers or "1").split("x")]
    a_chip = given.devices // math.prod(sizes)  # two in some versions of TPUs
    while True:
        if sizes == [1, 1]:
            sizes = [2, 2]
        else:
            smallest = min(sizes)
            sizes[len(sizes) - 1 - sizes[::-1].index(smallest)] *= 2
        count = math.prod(sizes) * a_chip
        if count > LARGEST:
            return
        yield f"{kind}:{'x'.join(map(str, sizes))}", count
