"""What every corpus looks like on disk, real or synthetic: one record a face, one split a fold."""

import contextlib
import fcntl
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

FILE_FORMAT = "array_record"
"""TFDS' own default can only be written with TensorFlow."""

IMAGE_SIZE = 256
"""Side of stored faces in pixels: FFHQ-aligned crops."""

UNKNOWN = -1
"""Label of an AU that nobody coded in a frame."""


def features(num_aus: int) -> tfds.features.FeaturesDict:
    """Features of a record.

    `image` (256, 256, 3) uint8 RGB, handed over as encoded bytes or a path; `landmarks` (68, 2) float32, x then y in
    pixels; `labels` (K,) int8, 1 present, 0 absent, -1 unknown; `intensities` (K,) float32, 0 to 5, -1 unknown;
    `subject`, `sequence` and `frame` say where the face comes from. Which AU a column is stands in the metadata.

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
    """What a reader must know beside the features: the AU numbers of the columns, in order."""
    return tfds.core.MetadataDict({"aus": list(aus)})


class CorpusBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder that needs no TensorFlow; TFDS wants a class per dataset, and this is what all of ours share."""

    # TFDS 4.9.10 looks for download checksums beside the code, through a package that it does not install
    # (importlib_resources); nothing is downloaded here.
    code_path = None

    def __init__(self, *, file_format: str | None = None, **kwargs: Any):
        super().__init__(file_format=file_format or FILE_FORMAT, **kwargs)


@contextlib.contextmanager
def only_writer(folder: pathlib.Path) -> Iterator[None]:
    """Holds a folder against other processes that prepare the same; the lock dies with its process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(builder: tfds.core.DatasetBuilder, folder: pathlib.Path) -> None:
    """Writes a dataset, whole or not at all, under `only_writer`; what a killed run had begun is cleared away first.

    Args:
      builder: Of what is not prepared yet; one that is, is left as it is.
      folder: Where its versions lie.
    """
    for unfinished in folder.glob("incomplete.*"):
        shutil.rmtree(unfinished)
    with tempfile.TemporaryDirectory() as unused:  # TFDS wants a place for downloads, though nothing comes
        builder.download_and_prepare(download_dir=unused)
