"""Opens a prepared corpus, real or synthetic, as a random-access source of faces."""

import dataclasses
import functools
import io
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from fgnet_jax.data import damage
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.data import index as index_lib
from fgnet_jax.data.identity import PREPARATION, CorpusIdentity
from fgnet_jax.data.index import DatasetIndex, FaceIndex
from fgnet_jax.data.source import SplitSource

CorpusError = damage.CorpusError

DataSource = Sequence[dict[str, Any]]
"""Random-access source of records, as TFDS gives them: a `SplitSource`, or any other sequence of them."""

Decoded = TypeVar("Decoded")


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Faces of one or more splits of a prepared corpus, in the order in which they were written.

    Attributes:
      name: The dataset's name, such as `synthetic_bp4d`.
      aus: AU numbers of the columns of `labels` and `intensities`.
      splits: Names of the splits.
      sources: The records of each split; their images are encoded.
      parts: For joined corpora (`join`), of each source: the prefix of its subjects' names, and for each of `aus` the
        column in its labels, -1 for an AU that it lacks.
      identities: What each corpus is and how it was prepared: one, or one for each of joined corpora.
    """

    name: str
    aus: tuple[int, ...]
    splits: tuple[str, ...]
    sources: tuple[DataSource, ...]
    parts: tuple[tuple[str, tuple[int, ...]], ...] = ()
    identities: tuple[CorpusIdentity, ...] = ()

    def __len__(self) -> int:
        """Return the number of faces."""
        return sum(len(source) for source in self.sources)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read a face and decode its image.

        Returns:
          `image` (256, 256, 3) uint8, `landmarks` (68, 2) float32, `labels` (K,) int8 (-1 unknown), `intensities` (K,)
          float32 (-1 unknown), `subject` and `sequence` str, `frame` int.
        """
        record = self.record(index)
        record["image"] = self.decoded(index, record["image"], decode)
        return record

    def record(self, index: int) -> dict[str, Any]:
        """Read a face; its image stays encoded (bytes).

        Raises:
          IndexError: for an index out of range.
          CorpusError: if the record is damaged; the message names its file, split and number.
        """
        k, place = self._place(index)
        record = _plain(self.sources[k][place])
        return _as_part(record, *self.parts[k]) if self.parts else record

    def decoded(self, index: int, encoded: bytes, decoder: Callable[[bytes], Decoded]) -> Decoded:
        """Decode the image of a face.

        Raises:
          CorpusError: if it cannot be decoded; the message names its file, split and number.
        """
        try:
            return decoder(encoded)
        except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for damaged images
            k, place = self._place(index)
            what, source = f"has an image that cannot be decoded ({error})", self.sources[k]
            if isinstance(source, SplitSource):
                raise source.damaged(place, what) from error
            raise CorpusError(f"record {index} of {self.name} {what}") from error

    def _place(self, index: int) -> tuple[int, int]:
        """Return the number of the source that a face is in, and its place there."""
        place = int(index)
        for k, source in enumerate(self.sources):
            if 0 <= place < len(source):
                return k, place
            place -= len(source)
        raise IndexError(f"no face {index} in {self.name} {'+'.join(self.splits)}: it has {len(self)}")

    @functools.cached_property
    def index(self) -> FaceIndex:
        """Whom and what every face shows, its labels and intensities, under joined corpora's names; reads no record.

        Only for the first time that a corpus prepared by an earlier version is opened, all records are read.
        """
        indexes = [s.index if isinstance(s, SplitSource) else index_lib.build(s) for s in self.sources]
        parts = self.parts or [("", tuple(range(len(self.aus))))] * len(indexes)
        return index_lib.join([index.as_part(*part) for index, part in zip(indexes, parts, strict=True)])

    def columns(self, aus: Sequence[int]) -> tuple[int, ...]:
        """Return the label column of each of these AUs; -1 for an AU that the corpus lacks."""
        return tuple(self.aus.index(au) if au in self.aus else -1 for au in aus)

    def subjects(self) -> np.ndarray:
        """Return the subject of every face, (N,) str."""
        return self.index.subjects

    def subjects_by_corpus(self, indices: np.ndarray) -> dict[str, list[str]]:
        """Return the distinct subjects of these faces, sorted, by whose recordings they are (`recordings`)."""
        names = np.unique(self.subjects()[indices]).tolist()
        if not self.parts:
            return {self.recordings(self.name): names}
        groups: dict[str, set[str]] = {}
        for prefix in dict.fromkeys(prefix for prefix, _ in self.parts):
            found = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
            groups.setdefault(self.recordings(prefix[:-1]), set()).update(found)
        return {corpus: sorted(group) for corpus, group in groups.items() if group}

    def recordings_of(self, index: int) -> str:
        """Return whose recordings a face is of, by its position."""
        prefix = self.parts[self._place(index)[0]][0] if self.parts else ""
        return self.recordings(prefix[:-1] or self.name)

    def recordings(self, name: str) -> str:
        """Return whose recordings the corpus of this name, one of those joined, is of; its own if unknown."""
        known = {identity.name.split("/")[0]: identity.recordings for identity in self.identities}
        return known.get(name.split("/")[0], name)


def join(corpora: Sequence[Corpus]) -> Corpus:
    """Join corpora to one, with the union of their AUs: those of the first, then those that each further one adds.

    Labels and intensities of AUs that a face's own corpus lacks are -1, unknown. Subjects are named with their corpus,
    `disfa/SN001`, since two corpora may have the same names. A single corpus is returned unchanged.
    """
    if len(corpora) == 1:
        return corpora[0]
    aus = tuple(dict.fromkeys(au for corpus in corpora for au in corpus.aus))
    parts = []
    for corpus in corpora:
        parts += [(f"{corpus.name}/", corpus.columns(aus))] * len(corpus.sources)
    splits = tuple(f"{corpus.name} {split}" for corpus in corpora for split in corpus.splits)
    sources = tuple(source for corpus in corpora for source in corpus.sources)
    identities = tuple(dict.fromkeys(identity for corpus in corpora for identity in corpus.identities))
    name = "+".join(corpus.name for corpus in corpora)
    return Corpus(name=name, aus=aus, splits=splits, sources=sources, parts=tuple(parts), identities=identities)


def _as_part(record: dict[str, Any], prefix: str, columns: Sequence[int]) -> dict[str, Any]:
    """Convert a record to the AUs and the subject's name of joined corpora."""
    columns = list(columns)
    joined = {key: np.append(record[key], record[key].dtype.type(-1))[columns] for key in ("labels", "intensities")}
    return {**record, **joined, "subject": prefix + record["subject"]}


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """Convert TFDS' types in a record to Python's."""
    names = {key: record[key].decode() for key in ("subject", "sequence")}
    return {**record, **names, "frame": int(record["frame"])}


def decode(encoded: bytes) -> np.ndarray:
    """Decode a stored image to (H, W, 3) uint8 RGB."""
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"))


def _folders_with(file: str, root: pathlib.Path) -> list[pathlib.Path]:
    """List the folders below `root` with a file of this name, but for those of preparations that did not end.

    TensorFlow Datasets keeps a `metadata.json` of its own in the hidden folder `.config`, before anything is written.
    """
    found = {path.relative_to(root).parent for path in root.glob(f"**/{file}")}
    unfinished = {folder for folder in found for part in folder.parts if part.startswith(".") or "incomplete." in part}
    return sorted(root / folder for folder in found - unfinished)


def find_corpus(name: str, data_dir: str | pathlib.Path) -> pathlib.Path:
    """Find the folder of a prepared corpus.

    Args:
      name: Dataset name, with its configuration if there are several: `disfa`, `synthetic_bp4d/frames4000_seed0_…`.
      data_dir: Folder of all datasets.

    Raises:
      FileNotFoundError: if no corpus of that name was prepared.
      CorpusError: if it has lost its description.
      ValueError: if several configurations or versions were.
    """
    root = pathlib.Path(data_dir) / name
    folders = _folders_with(damage.INFO_FILE, root)
    if not folders:
        if lost := _folders_with("metadata.json", root):
            raise damage.damaged(lost[0], f"{lost[0] / damage.INFO_FILE} is missing")
        others = sorted(p.name for p in pathlib.Path(data_dir).glob("*") if p.is_dir())
        raise FileNotFoundError(f"no prepared corpus {name!r} in {data_dir}: found {', '.join(others) or 'nothing'}")
    if len(folders) > 1:
        names = ", ".join(str(p.relative_to(data_dir)) for p in folders)
        raise ValueError(f"{name!r} was prepared more than once in {data_dir}; name one of {names}")
    return folders[0]


def corpus_folds(name: str, data_dir: str | pathlib.Path) -> tuple[int, ...]:
    """Return the folds of a corpus, ascending: the three of a published one, or those that its splits on disk hold.

    A fold of which no face could be prepared has no split, and is none of them.

    Raises:
      FileNotFoundError: if a corpus of one's own was not prepared.
      ValueError: if its name is ambiguous, or it has no split that is a fold.
      CorpusError: if its description is damaged.
    """
    if folds_lib.is_published(name):
        return tuple(range(folds_lib.NUM_FOLDS))
    return _folds_on_disk(find_corpus(name, data_dir))


def _folds_on_disk(folder: pathlib.Path) -> tuple[int, ...]:
    builder = damage.open_builder(folder)
    folds = folds_lib.numbers(builder.info.splits)
    if not folds:
        raise ValueError(
            f"{builder.name} has no folds: expected splits fold_0 and so on, found {', '.join(builder.info.splits)}"
        )
    return folds


def open_corpus(name: str, data_dir: str | pathlib.Path, split: str | Sequence[str]) -> Corpus:
    """Open splits of a prepared corpus.

    Args:
      name: Dataset name, with its configuration if there are several; see `find_corpus`.
      data_dir: Folder of all datasets.
      split: `fold_0`, or several: `("fold_0", "fold_1")` or `fold_0+fold_1`.

    Raises:
      FileNotFoundError: if the corpus was not prepared.
      ValueError: if the name is ambiguous or a split is missing.
      CorpusError: if a file of the corpus is damaged.
    """
    return open_directory(find_corpus(name, data_dir), split)


def open_directory(folder: str | pathlib.Path, split: str | Sequence[str]) -> Corpus:
    """Open splits of the corpus in a folder, such as a builder's `data_path`; see `open_corpus`."""
    folder = pathlib.Path(folder)
    builder = damage.open_builder(folder)
    splits = tuple(split.split("+")) if isinstance(split, str) else tuple(split)
    for part in splits:
        if part not in builder.info.splits:
            raise ValueError(f"{builder.name} has no split {part!r}: expected one of {', '.join(builder.info.splits)}")
    metadata = builder.info.metadata
    if not metadata or "aus" not in metadata:
        raise ValueError(f"{folder} does not say which AUs its labels are: expected `aus` in its metadata.json")
    identity = CorpusIdentity.of(
        builder.info.full_name,
        aus=metadata["aus"],
        preparation=metadata.get(PREPARATION, {}),
        faces={name: info.num_examples for name, info in builder.info.splits.items()},
    )
    index = _index(builder, folder, identity)
    sources = tuple(SplitSource(builder, part, index) for part in splits)
    return Corpus(name=builder.name, aus=tuple(metadata["aus"]), splits=splits, sources=sources, identities=(identity,))


def _index(builder: tfds.core.DatasetBuilder, folder: pathlib.Path, identity: CorpusIdentity) -> DatasetIndex:
    """Return the index of all splits, which is of this very dataset: its fingerprint, counts and sizes of files."""
    shards = [pathlib.Path(path) for info in builder.info.splits.values() for path in info.filepaths]
    sizes = {shard.name: shard.stat().st_size for shard in shards}
    key = {"fingerprint": identity.fingerprint, "faces": identity.faces, "sizes": sizes}
    records = {name: functools.partial(SplitSource, builder, name) for name in builder.info.splits}
    return DatasetIndex(folder, key, records)


def decode_resized(encoded: bytes, size: int) -> tuple[np.ndarray, float]:
    """Decode a stored image to (size, size, 3) uint8 RGB; also returns the factor by which its landmarks are scaled.

    Where the size is a half, a quarter or an eighth of its side, a JPEG is decoded at that scale, which is faster than
    shrinking it afterwards; for other sizes, pixels are averaged over boxes.
    """
    with Image.open(io.BytesIO(encoded)) as image:
        factor = size / image.width
        image.draft("RGB", (size, size))
        rgb = image.convert("RGB")
    if rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BOX if size < rgb.width else Image.Resampling.BICUBIC)
    return np.asarray(rgb), factor
