"""Random damage to weights, checkpoints and datasets: equal values or an error of ours, never other values.

FGNET_JAX_MUTATIONS=300 python -m pytest tests/end_to_end/test_damage.py
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from fgnet_jax.data.corpus import CorpusError, open_corpus
from fgnet_jax.data.synthetic.builders import prepare_synthetic
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.models.weights import WeightsError, WeightsMeta
from fgnet_jax.runtime import sharding
from fgnet_jax.train import checkpoints

MUTATIONS = int(os.environ.get("FGNET_JAX_MUTATIONS", "30"))
"""In all; as many of weights as of checkpoints and of datasets."""

SEED = int(os.environ.get("FGNET_JAX_MUTATIONS_SEED", "0"))
HANG_SECONDS = 120

Mutation = Callable[[bytes, np.random.Generator], bytes]
Reader = Callable[[Path], object]
"""Reads everything of a folder; returns what can be compared."""


class PassedOver(Exception):  # noqa: N818 - no error
    """The damaged checkpoint was passed over, and that was reported."""


def one_bit(content: bytes, random: np.random.Generator) -> bytes:
    """A flipped bit, as of memory or of a cable."""
    place = int(random.integers(8 * len(content)))
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def zeros(content: bytes, random: np.random.Generator) -> bytes:
    """A block that was never written."""
    return _with_block(content, random, bytes)


def noise(content: bytes, random: np.random.Generator) -> bytes:
    """A block of something else."""
    return _with_block(content, random, random.bytes)


def _with_block(content: bytes, random: np.random.Generator, block: Callable[[int], bytes]) -> bytes:
    begin = int(random.integers(len(content)))
    size = min(len(content) - begin, 4096)
    return content[:begin] + block(size) + content[begin + size :]


def cut(content: bytes, random: np.random.Generator) -> bytes:
    """A copy that ended early."""
    return content[: int(random.integers(len(content)))]


KINDS: dict[str, Mutation | None] = {"bit": one_bit, "zeros": zeros, "noise": noise, "cut": cut, "missing": None}


def mutate(folder: Path, random: np.random.Generator) -> str:
    """Damage a random file of a folder; return which one, and by what."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.stat().st_size)
    file, kind = files[random.integers(len(files))], list(KINDS)[random.integers(len(KINDS))]
    mutation = KINDS[kind]
    if mutation is None:
        file.unlink()
    else:
        file.write_bytes(mutation(file.read_bytes(), random))
    return f"{kind} of {file.relative_to(folder)}"


def make_weights(folder: Path) -> None:
    """Write a tiny network."""
    weights.save(folder / "w", TINY, fgnet.init(TINY), WeightsMeta(aus=(1, 2), corpus="disfa", extra={"step": 3}))


def read_weights(folder: Path) -> object:
    """Load it with its metadata."""
    config, variables, meta = weights.load(folder / "w")
    return config, meta, weights.checksum(variables)


def make_checkpoints(folder: Path) -> None:
    """Write two steps of a run."""
    with checkpoints.open_manager(folder / "checkpoints") as manager:
        for step in (1, 2):
            state = jax.tree.map(jax.numpy.asarray, fgnet.init(TINY, seed=step))
            checkpoints.save_step(manager, step, state, {"best": {"step": step}})


def read_checkpoints(folder: Path) -> object:
    """Resume: the later step, or the one before it where a line says so."""
    like = fgnet.abstract(TINY)
    placement = sharding.create().of(like)
    with checkpoints.open_manager(folder / "checkpoints") as manager:
        restored = checkpoints.restore_latest(manager, like=like, shardings=placement)
    assert restored is not None
    same = weights.checksum(restored.state) == weights.checksum(fgnet.init(TINY, seed=restored.step))
    if restored.step == 1:
        (line,) = restored.damaged
        assert "\n" not in line and str(folder) in line
        if same and restored.metadata == {"best": {"step": 1}}:
            raise PassedOver
    return restored.step, same, restored.metadata


def make_dataset(folder: Path) -> None:
    """Prepare faces of a synthetic corpus."""
    prepare_synthetic("synthetic_disfa", folder, frames=60)


def read_dataset(folder: Path) -> object:
    """Read every face, and what is said about them all."""
    corpus = open_corpus("synthetic_disfa", folder, "fold_0+fold_1+fold_2")
    faces = [{key: np.asarray(value).tobytes() for key, value in corpus[k].items()} for k in range(len(corpus))]
    return corpus.aus, corpus.identities, corpus.subjects().tolist(), corpus.index.labels.tobytes(), faces


TARGETS: dict[str, tuple[Callable[[Path], None], Reader]] = {
    "weights": (make_weights, read_weights),
    "checkpoints": (make_checkpoints, read_checkpoints),
    "dataset": (make_dataset, read_dataset),
}


@contextlib.contextmanager
def hangs_fail() -> Iterator[None]:
    """Raise if the block never ends."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"not done after {HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


RIGHT = ("equal", "refused", "the save before")


def outcome(folder: Path, read: Reader, expected: object) -> str:
    """What reading a damaged folder comes to: one of `RIGHT`, or what is wrong with it."""
    try:
        with hangs_fail():
            return "equal" if read(folder) == expected else "OTHER VALUES"
    except PassedOver:
        return "the save before"
    except (WeightsError, CorpusError, FileNotFoundError) as error:
        message = str(error)
        is_line = "\n" not in message and message.isprintable() and len(message) < 1500 and str(folder) in message
        return "refused" if is_line else f"NOT A LINE THAT NAMES THE FOLDER: {message!r}"
    except Exception as error:  # a traceback for users
        return f"TRACEBACK: {type(error).__name__}: {error}"


@pytest.mark.parametrize("name", TARGETS)
def test_damage_is_never_silent(name, tmp_path, capfd):
    """Each damaged copy gives equal values or one line; nothing else is printed by threads in the background."""
    make, read = TARGETS[name]
    make(tmp_path / "whole")
    expected = read(tmp_path / "whole")
    random = np.random.default_rng([SEED, *name.encode()])
    outcomes = {}
    for k in range(-(-MUTATIONS // len(TARGETS))):
        damaged = tmp_path / f"damaged{k}"
        shutil.copytree(tmp_path / "whole", damaged)
        what = f"{k}: {mutate(damaged, random)}"
        outcomes[what] = outcome(damaged, read, expected)
        if "Traceback" in "".join(capfd.readouterr()):
            outcomes[what] += ", TRACEBACK IN THE LOG"
        shutil.rmtree(damaged)
    wrong = {what: result for what, result in outcomes.items() if result not in RIGHT}
    assert wrong == {}
    found = list(outcomes.values())
    with capfd.disabled():
        print(f"\n{name}:", ", ".join(f"{found.count(result)} {result}" for result in RIGHT))


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_is_not_noticed_is_wrong(name, tmp_path):
    """The comparison that these tests rest on sees a difference in values."""
    make, read = TARGETS[name]
    make(tmp_path / "whole")
    assert outcome(tmp_path / "whole", read, read(tmp_path / "whole")) == "equal"
    assert outcome(tmp_path / "whole", read, None) == "OTHER VALUES"
