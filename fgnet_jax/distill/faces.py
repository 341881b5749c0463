"""The faces that teachers see: of images and videos, found and aligned as `predict` does it, and of prepared corpora.

Both come as frames with a position, (source, number), which only grows: a cache that was begun goes on behind it.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Generator, Iterator, Mapping, Sequence

import numpy as np

from fgnet_jax.data.corpus import decode_resized
from fgnet_jax.data.pipeline import select_columns
from fgnet_jax.faces import alignment, finder
from fgnet_jax.faces.finder import DetectedFace, DetectedFrame
from fgnet_jax.media.frames import SEVERAL_KINDS
from fgnet_jax.media.prefetch import closing, prefetch
from fgnet_jax.media.sources import Source
from fgnet_jax.predict import pipeline
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.pipeline import PredictOptions
from fgnet_jax.train.splits import RunData

_AHEAD = 32  # decoded faces of a corpus that wait


@dataclasses.dataclass(frozen=True, eq=False)
class FaceToLabel:
    """An aligned face.

    Attributes:
      images: (side, side, 3) uint8 for every side that a network takes.
      face_id: Its number in its frame; of a video, the same from frame to frame.
      labels: (K,) int8 of the student's AUs, -1 unknown; None for unlabelled faces.
      landmarks: (68, 2) float32 in pixels of the student's face; None where they are not known.
      recordings: The corpus whose recording it is of; "" where that is not known.
    """

    images: Mapping[int, np.ndarray]
    face_id: int = 0
    labels: np.ndarray | None = None
    landmarks: np.ndarray | None = None
    recordings: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class FrameToLabel:
    """A frame with its faces.

    Attributes:
      source: Index of its source: 0 for the corpus, if there is one, then the files.
      number: Number of the frame in its source, from 1.
      faces: Its faces; there may be none.
      detected: Where they are from, of files.
    """

    source: int
    number: int
    faces: tuple[FaceToLabel, ...]
    detected: DetectedFrame | None = None


@dataclasses.dataclass(frozen=True)
class FaceInputs:
    """Where faces come from.

    Attributes:
      sources: Images and videos; may be none.
      options: How faces are found in them.
      data: The corpus, if there is one: its training faces, then those that are held out.
      sides: Sides that networks take, the student's last.
      aus: The student's AUs.
    """

    sources: Sequence[Source]
    options: PredictOptions
    data: RunData | None
    sides: tuple[int, ...]
    aus: tuple[int, ...]

    @property
    def corpus_faces(self) -> np.ndarray:
        """Positions in the corpus of the faces that are used, training faces first; empty without a corpus."""
        if self.data is None:
            return np.zeros(0, np.int64)
        return np.concatenate([self.data.train.indices, self.data.select.indices])

    @property
    def names(self) -> list[str]:
        """Names of all sources, in order."""
        corpus = [] if self.data is None else [self.data.train.corpus.name]
        return corpus + [source.name for source in self.sources]

    @property
    def expected(self) -> int | None:
        """Faces to expect: those of the corpus, and one in each image; None where there are videos."""
        if any(source.kind in SEVERAL_KINDS for source in self.sources):
            return None
        return len(self.corpus_faces) + sum(source.kind != "missing" for source in self.sources)

    def frames(self, after: tuple[int, int] = (0, 0)) -> Generator[FrameToLabel, None, None]:
        """Yield all frames behind a position, in order.

        Raises:
          DetectorError: What finds faces is not installed; before the first frame.
          CorpusError: A record of the corpus is damaged.
        """
        first = 0 if self.data is None else 1
        source, number = after
        files = _files(self, ResumePoint(source - first, number) if source >= first else ResumePoint())
        done = number if source < first else len(self.corpus_faces)
        return _in_turn(prefetch(_corpus(self, done), _AHEAD), files)


def _in_turn(*parts: Iterator[FrameToLabel]) -> Generator[FrameToLabel, None, None]:
    with contextlib.ExitStack() as stack:
        for part in parts:
            stack.enter_context(closing(part))
        for part in parts:
            yield from part


def _files(inputs: FaceInputs, point: ResumePoint) -> Generator[FrameToLabel, None, None]:
    """Find the faces of images and videos, from a resume point on."""
    first = 0 if inputs.data is None else 1
    read = pipeline.read_frames(inputs.sources, inputs.options, point)
    largest = max(inputs.sides)
    found = finder.find(read, inputs.options.finder_options(largest)) if inputs.sources else None

    def frames() -> Generator[FrameToLabel, None, None]:
        if found is None:
            return
        with closing(found):
            for detected in found:
                faces = tuple(_of_file(inputs, detected, face) for face in detected.faces)
                yield FrameToLabel(detected.frame.index + first, detected.frame.number, faces, detected)

    return frames()


def _of_file(inputs: FaceInputs, detected: DetectedFrame, face: DetectedFace) -> FaceToLabel:
    """Align a face for every network by itself: each gets the very pixels that `predict` would give it."""
    image = detected.frame.image
    assert image is not None
    others = {side: _aligned(image, face, side, inputs.options.aligned) for side in inputs.sides}
    return FaceToLabel(others | {face.alignment.size: face.aligned}, face.face_id)


def _aligned(image: np.ndarray, face: DetectedFace, side: int, is_aligned: bool) -> np.ndarray:
    if side == face.alignment.size:
        return face.aligned
    if is_aligned:
        return alignment.resize_aligned(image, side)
    return alignment.align(image, face.face.landmarks, side)[0]


def _corpus(inputs: FaceInputs, done: int) -> Generator[FrameToLabel, None, None]:
    """Read the faces of the corpus behind the first `done`, as training and evaluation read them."""
    if inputs.data is None:
        return
    corpus = inputs.data.train.corpus
    columns, order, student = corpus.columns(inputs.aus), inputs.corpus_faces, inputs.sides[-1]
    for place in range(done, len(order)):
        index = int(order[place])
        record = corpus.record(index)
        images, factors = {}, {}
        for side in inputs.sides:
            decoded = corpus.decoded(index, record["image"], functools.partial(decode_resized, size=side))
            images[side], factors[side] = decoded
        face = FaceToLabel(
            images,
            labels=select_columns(record["labels"], columns),
            landmarks=record["landmarks"] * np.float32(factors[student]),
            recordings=corpus.recordings_of(index),
        )
        yield FrameToLabel(0, place + 1, (face,))
