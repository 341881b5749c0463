"""The folder of a run: held by one training at a time, with a record of what the run was begun with.

WORKDIR/.lock           who trains there, while it is held
WORKDIR/config.json     the configuration
WORKDIR/provenance.json versions, devices and time of the last start
WORKDIR/results.json    what the finished run ended with
WORKDIR/corpora.json    identity of every corpus trained, selected or tested on (`CorpusIdentity.to_dict`)
WORKDIR/lineage.json    lineage of the run's weights, the run itself as its last link (`Link.to_dict`)

The last two are what tests are refused by: {"entries": […], "sha256": "…"}, the SHA-256 of the entries as JSON.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.models import weights
from fgnet_jax.models.lineage import Link
from fgnet_jax.runtime import files
from fgnet_jax.train.defaults import ConfigError

CONFIG, CORPORA, LINEAGE = "config.json", "corpora.json", "lineage.json"
"""Files of a workdir that say what its run was begun with."""

PROVENANCE, RESULTS = "provenance.json", "results.json"
"""Files of a workdir: where its run was started last, and what it ended with."""

_LOCK, _CHECKPOINTS = ".lock", "checkpoints"


class HeldError(ConfigError):
    """A workdir that another training holds; the message names the process."""


@contextlib.contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Hold a workdir, which is created, against other processes; on several hosts, process 0 holds it for all.

    A run that is refused leaves none behind.

    Raises:
      NotWritableError: It cannot be written to.
      HeldError: Another training holds it; the message names the process.
      ConfigError: It is a weights directory, whose path would mean the run's weights from then on.
    """
    if weights.is_directory(workdir):
        raise ConfigError(f"{workdir} is a weights directory, where no run can be; give another folder")
    new = [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
    files.check_writable(workdir)
    with contextlib.ExitStack() as stack:
        refusal = _hold(stack, workdir) if jax.process_index() == 0 else None
        if jax.process_count() > 1 and multihost_utils.broadcast_one_to_all(np.int32(refusal is not None)):
            refusal = refusal or HeldError(f"{workdir} is in use by another training, as process 0 says")
        if refusal:
            raise refusal
        try:
            yield
        finally:
            if jax.process_index() == 0 and not (workdir / CONFIG).exists():
                _remove_empty(workdir, new)


def _hold(stack: contextlib.ExitStack, workdir: Path) -> HeldError | None:
    """Take the lock of a workdir until the stack ends, or return why not."""
    try:
        stack.enter_context(files.locked(workdir / _LOCK))
    except files.LockedError as error:
        return HeldError(f"{error}: wait until that training ends, or give another folder")
    return None


def _remove_empty(workdir: Path, new: Sequence[Path]) -> None:
    """Remove the folders that were created for a run that has not begun."""
    if not new:
        return
    (workdir / _LOCK).unlink(missing_ok=True)
    for folder in (workdir / _CHECKPOINTS, *new):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def holder(workdir: Path) -> str | None:
    """Return which process trains in a workdir, in words; None if none does."""
    return files.holder(workdir / _LOCK)


def saved_step(workdir: Path) -> int:
    """Return the last step that a run has saved; 0 for none."""
    names = [folder.name for folder in (workdir / _CHECKPOINTS).glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def has_checkpoint(workdir: Path) -> bool:
    """Return whether a run has been saved in a workdir."""
    return any(folder.name.isdecimal() for folder in (workdir / _CHECKPOINTS).glob("*"))


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Read a JSON file of a workdir; None if there is none.

    Raises:
      ConfigError: The file is damaged; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: object) -> ConfigError:
    advice = "copy it from where it is intact, or give another folder"
    return ConfigError(f"{path}: damaged, not the JSON that training wrote ({error}); {advice}")


def write_record(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write corpora or lineage with their checksum, whole or not at all."""
    record = {"entries": list(entries), "sha256": _checksum(list(entries))}
    files.write_text(path, json.dumps(record, indent=2) + "\n")


def read_record(path: Path) -> list[Any] | None:
    """Read what `write_record` wrote; None if there is no such file.

    Raises:
      ConfigError: The file is damaged.
    """
    record = read_json(path)
    if record is None and not path.exists():
        return None
    if not isinstance(record, dict) or record.get("sha256") != _checksum(record.get("entries")):
        raise _damaged(path, "its SHA-256 is another")
    return record["entries"]


def _checksum(entries: object) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def read_lineage(workdir: Path) -> tuple[Link, ...]:
    """Read the lineage that a run recorded, itself last; empty before a run has begun, and of older versions.

    Raises:
      ConfigError: The file is damaged.
    """
    path = workdir / LINEAGE
    values = read_record(path) if (workdir / CONFIG).exists() else None
    if values is None:
        return ()
    try:
        return tuple(Link.from_dict(link) for link in values)
    except (TypeError, AttributeError, ValueError) as error:
        raise _damaged(path, error) from error


def check_corpora(workdir: Path, corpora: Sequence[CorpusIdentity]) -> str:
    """Refuse corpora that were prepared anew since a run was begun with them.

    Args:
      workdir: The run's folder.
      corpora: The corpora as they are now, in the configuration's order.

    Returns:
      A line for the log where they could not be compared, since the run was begun before they were recorded; or "".

    Raises:
      ConfigError: They are others; the message says what differs and what to do.
    """
    path = workdir / CORPORA
    if not (workdir / CONFIG).exists():
        return ""
    recorded = read_record(path)
    if recorded is None:
        return f"{workdir} was begun before corpora were recorded: whether they are still the same is not known"
    try:
        names = [values["name"] for values in recorded]
        lines = [line for now, then in zip(corpora, recorded, strict=False) for line in _differences(now, then)]
    except (TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, error) from error
    if len(names) != len(corpora):
        lines.append(f"corpora: {', '.join(names)} then, {', '.join(corpus.name for corpus in corpora)} now")
    if lines:
        text = "\n  ".join(lines)
        raise ConfigError(
            f"{workdir} was begun with another preparation of its corpora; prepare them as they were, or train anew in "
            f"another folder. What differs:\n  {text}"
        )
    return ""


def _differences(now: CorpusIdentity, then: dict[str, Any]) -> list[str]:
    return [f"{now.name}: {line}" for line in now.differences(then)]
