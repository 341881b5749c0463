"""Batches, and where a run resumes: at the beginning of a batch that it would have had anyway."""

import itertools

import pytest

from fgnet_jax.predict import batching
from fgnet_jax.predict.result_table import WrittenFrame


def written(counts, names=None):
    """Return a table's frames of a video, 4 per second, with so many faces each; or of several sources."""
    names = names or ["v"] * len(counts)
    frames, rows = [], 0
    for k, (name, faces) in enumerate(zip(names, counts, strict=True)):
        number = k + 1 - names.index(name)
        rows += max(faces, 1)
        frame = WrittenFrame(input=name, frame=number, timestamp=number / 4, faces=faces, rows=rows, end=100 * rows)
        frames.append(frame)
    return frames


def test_batches_end_with_frames():
    """Put no more faces in a batch than fit, unless a single frame has more, and limit frames without faces."""
    grouped = batching.grouped([1, 1, 3, 1, 9, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0], lambda n: n, 4)
    assert list(grouped) == [[1, 1], [3, 1], [9], [2, 0, 0, 0, 0, 0, 0, 0], [0, 0]]


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("counts", [[1] * 9, [2, 0, 1, 3, 1, 0, 0, 5, 1]], ids=["one face", "several"])
def test_a_run_resumes_at_the_beginning_of_a_batch(size, counts):
    """Have the batches of a run that was not killed from there on, wherever it was killed."""
    undisturbed = list(batching.grouped(list(enumerate(counts, 1)), lambda pair: pair[1], size))
    for count in range(len(counts)):
        point = batching.resume_point(written(counts[:count]), ["v"], size)
        rest = [pair for pair in enumerate(counts, 1) if pair[0] > point.done]
        again = list(batching.grouped(rest, lambda pair: pair[1], size))
        assert again == undisturbed[len(undisturbed) - len(again) :]
        assert point.rows == sum(max(faces, 1) for faces in counts[: point.done]) and point.end == 100 * point.rows
        assert point.faces == sum(counts[: point.done]) and point.done <= count


def test_sources_that_are_done_are_not_read_again():
    """Skip images and videos before the last batch."""
    frames = written([1, 1, 1, 1, 1], ["a.png", "b.png", "v", "v", "v"])
    point = batching.resume_point(frames, ["a.png", "b.png", "v", "c.png"], 2)
    assert (point.source, point.done, point.written, point.rows) == (2, 2, (2, 2), 4)


def test_a_batch_over_two_sources():
    """Resume with the first of them."""
    point = batching.resume_point(
        written([1, 1, 1, 1], ["a.png", "b.png", "c.png", "d.png"]), ["a.png", "b.png", "c.png", "d.png"], 3
    )
    assert (point.source, point.done, point.rows) == (3, 0, 3)


def test_smoothing_computes_the_frames_of_its_window_again():
    """Compute a second of frames, four, again, and write none of them again."""
    point = batching.resume_point(written([1] * 12), ["v"], 2, window=1.0)
    assert point.written == (0, 10) and point.rows == 10
    assert point.done <= 10 - 4 and point.done % 2 == 0 and point.done >= 4


def test_smoothing_looks_back_to_the_videos_beginning_at_most():
    """Stop at the video's beginning where its first frames share a batch with an image, too."""
    frames = written([1, 1, 1, 1], ["a.png", "v", "v", "v"])
    point = batching.resume_point(frames, ["a.png", "v"], 2, window=60.0)
    assert (point.source, point.done, point.written) == (0, 0, (1, 1))


def test_other_inputs_are_refused():
    """Refuse them, or their rows would be mixed."""
    with pytest.raises(ValueError, match="continues with b.png, the command with c.png"):
        batching.resume_point(written([1, 1, 1], ["a.png", "b.png", "c.png"]), ["a.png", "c.png"], 1)
    with pytest.raises(ValueError, match="no more inputs"):
        batching.resume_point(written([1, 1, 1], ["a.png", "b.png", "c.png"]), ["a.png"], 1)


def test_the_same_input_twice():
    """Count it as two sources."""
    frames = list(itertools.chain(written([1, 1]), written([1, 1])))
    assert batching.resume_point(frames, ["v", "v"], 1).source == 1
