"""Format of all corpora on disk, real or synthetic: a record per face, a split per fold."""

import contextlib
import fcntl
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

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
    """Return the metadata that a reader needs beside the features: the AU numbers of the columns, in order."""
    return tfds.core.MetadataDict({"aus": list(aus)})


class CorpusBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder that needs no TensorFlow: the base class of all corpora, as TFDS requires a class per dataset."""

    # TFDS 4.9.10 looks for download checksums beside the code, through a package that it does not install
    # (importlib_resources); nothing is downloaded here.
    code_path = None

    def __init__(self, *, file_format: str | None = None, **kwargs: Any):  # noqa: ANN401 - TFDS' own
        """Create a builder that writes `FILE_FORMAT` unless `file_format` is given; the rest is TFDS'."""
        super().__init__(file_format=file_format or FILE_FORMAT, **kwargs)


@contextlib.contextmanager
def only_writer(folder: pathlib.Path) -> Iterator[None]:
    """Lock a folder against other processes that prepare the same; the lock ends with its process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
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
