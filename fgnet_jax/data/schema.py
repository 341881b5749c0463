"""Format of all corpora on disk, real or synthetic: a record per face, a split per fold."""

import contextlib
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from fgnet_jax.data.corpus import open_directory
from fgnet_jax.data.damage import HAS_SUMS
from fgnet_jax.runtime import files, sums
from fgnet_jax.runtime.command_line import status

FILE_FORMAT = "array_record"
"""TFDS' default format can only be written with TensorFlow."""

IMAGE_SIZE = 256
"""Side of stored faces, which are FFHQ-aligned, in pixels."""

UNKNOWN = -1
"""Label of an AU that was not coded in a frame."""


def features(num_aus: int) -> tfds.features.FeaturesDict:
    """Return the features of a record.

    `image` (256, 256, 3) uint8 RGB, given as encoded bytes or a path; `landmarks` (68, 2) float32, x then y in
    pixels; `labels` (K,) int8, 1 present, 0 absent, -1 unknown; `intensities` (K,) float32, 0 to 5, -1 unknown;
    `subject`, `sequence` and `frame` say where the face is from. The AUs of the columns are in the metadata.

    Args:
      num_aus: K.
    """
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(IMAGE_SIZE, IMAGE_SIZE, 3), encoding_format="jpeg"),
            "landmarks": tfds.features.Tensor(shape=(68, 2), dtype=np.float32),
            "labels": tfds.features.Tensor(shape=(num_aus,), dtype=np.int8),
            "intensities": tfds.features.Tensor(shape=(num_aus,), dtype=np.float32),
            "subject": tfds.features.Text(),
            "sequence": tfds.features.Text(),
            "frame": tfds.features.Scalar(dtype=np.int32),
        }
    )


def metadata(aus: Sequence[int]) -> tfds.core.MetadataDict:
    """Return the metadata that a reader needs beside the features: the AU numbers of the columns, in order.

    `sums` says that the dataset has sums over its files: without them, it is not whole.
    """
    return tfds.core.MetadataDict({"aus": list(aus), HAS_SUMS: True})


class _SameBytesWriter(tfds.core.ExampleWriter):
    """A writer that gives the same bytes for the same records: the features of each in the order of their names.

    TFDS' own order is that of a hash table, another one in every process.
    """

    def write(self, path: Any, examples: Iterable[tuple[Any, bytes]]) -> Any:  # noqa: ANN401 - TFDS' own
        """Write the records of a shard."""
        return super().write(path, ((key, _in_order(record)) for key, record in examples))


def _in_order(record: bytes) -> bytes:
    """Serialise a record anew, its features in the order of their names."""
    example: Any = getattr(tf_example_pb2, "Example")  # noqa: B009 - generated code, which type checkers cannot see
    return example.FromString(record).SerializeToString(deterministic=True)


class CorpusInfo(tfds.core.DatasetInfo):
    """Description of a corpus, after whose writing the dataset gets its sums, is read once and indexed.

    TFDS writes the description last, before the dataset gets its final place: it has all of this, or does not exist.
    """

    def write_to_directory(self, dataset_info_dir: Any, all_metadata: bool = True) -> None:  # noqa: ANN401 - TFDS' own
        """Write the description, the sums and the index."""
        super().write_to_directory(dataset_info_dir, all_metadata=all_metadata)
        folder = pathlib.Path(dataset_info_dir)
        sums.write(folder)
        # After the sums, and not in them: it has one of its own, and is made again where it is lost.
        open_directory(folder, list(self.splits)).index  # noqa: B018 - it is built, and written, where it is missing


class CorpusBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder that needs no TensorFlow: the base class of all corpora, as TFDS requires a class per dataset."""

    # TFDS 4.9.10 looks for download checksums beside the code, through a package that it does not install
    # (importlib_resources); nothing is downloaded here.
    code_path = None

    def __init__(self, *, file_format: str | None = None, **kwargs: Any):  # noqa: ANN401 - TFDS' own
        """Create a builder that writes `FILE_FORMAT` unless `file_format` is given; the rest is TFDS'."""
        super().__init__(file_format=file_format or FILE_FORMAT, **kwargs)

    def _example_writer(self) -> tfds.core.ExampleWriter:
        """Return the writer of records."""
        assert self.info.file_format is not None
        return _SameBytesWriter(self.info.file_format)


@contextlib.contextmanager
def only_writer(folder: pathlib.Path) -> Iterator[None]:
    """Lock a folder against other processes that prepare the same, or say whom this one waits for, and wait.

    The lock ends with its process. Whoever has waited should look whether the work is done.
    """

    def say(holder: str) -> None:
        status("prepare", f"{folder} is being prepared by {holder}: waiting until it is done")

    folder.mkdir(parents=True, exist_ok=True)
    with files.locked(folder / ".lock", wait=True, on_wait=say):
        yield


def write(builder: tfds.core.DatasetBuilder, folder: pathlib.Path) -> None:
    """Write a dataset, complete or not at all, under `only_writer`; removes what a killed run left first.

    Args:
      builder: The dataset's builder; a dataset that exists is left as it is.
      folder: Folder of its versions.
    """
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()  # a log would have thousands of its lines
    for unfinished in folder.glob("incomplete.*"):
        shutil.rmtree(unfinished)
    with tempfile.TemporaryDirectory() as unused:  # TFDS requires a folder for downloads, though nothing is downloaded
        builder.download_and_prepare(download_dir=unused)
