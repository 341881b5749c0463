"""Damage to a prepared corpus: found when it is opened or read, and named with what to do."""

import json
from collections.abc import Iterable
from pathlib import Path

import tensorflow_datasets as tfds

from fgnet_jax.runtime import sums

INFO_FILE, METADATA_FILE, FEATURES_FILE = "dataset_info.json", "metadata.json", "features.json"
"""The small files of a dataset."""

HAS_SUMS = "sums"
"""Key of a dataset's metadata, true where it was written with sums over its files."""


class CorpusError(ValueError):
    """A prepared corpus that is damaged; the message names the file and what to do."""


def damaged(folder: Path, what: object) -> CorpusError:
    """Return the error of a damaged dataset.

    Args:
      folder: The dataset's folder.
      what: The file, with what is wrong with it.
    """
    return CorpusError(
        f"{what}; copy the file again from where it is whole, or remove {folder} and prepare the corpus anew "
        f"(fgnet-jax inspect {folder} verifies all of its files)"
    )


def open_builder(folder: Path) -> tfds.core.DatasetBuilder:
    """Open TFDS' builder of a dataset, after checks of all that is cheap: small files' content, shards' sizes.

    Raises:
      CorpusError: A file is damaged or missing.
    """
    has_sums = sums.has_sums(folder)
    if has_sums:
        _refuse(folder, sums.verify(folder, only=(INFO_FILE, METADATA_FILE, FEATURES_FILE)))
    try:
        builder = tfds.builder_from_directory(str(folder))
        shards = [Path(path) for info in builder.info.splits.values() for path in info.filepaths]
        dict(builder.info.metadata or {})  # which TFDS reads when it is first used
    except Exception as error:  # of JSON, Protocol Buffers or TFDS: each has types of its own
        files = [name for name in (INFO_FILE, FEATURES_FILE, METADATA_FILE) if not _is_json(folder / name)]
        names = ", ".join(str(folder / name) for name in files or [INFO_FILE])
        raise damaged(folder, f"{names}: cannot be read as a dataset's ({first_line(error)})") from error
    _refuse(folder, [sums.Damage(path, "is missing") for path in shards if not path.is_file()])
    if (builder.info.metadata or {}).get(HAS_SUMS) and not has_sums:
        raise damaged(folder, sums.Damage(folder / sums.SUMS_FILE, "is missing"))
    if has_sums:
        _refuse(folder, sums.resized(folder, only=[path.name for path in shards]))
    return builder


def _refuse(folder: Path, found: Iterable[sums.Damage]) -> None:
    """Raise the first damage, if there is any."""
    for damage in found:
        raise damaged(folder, damage)


def _is_json(path: Path) -> bool:
    """Tell whether a file is JSON."""
    try:
        json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return True


def first_line(error: Exception) -> str:
    """Return the error's type and the first line of its message, cut."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
