"""The cache on disk: what comes back of it, what it refuses, and how damage is named."""

import numpy as np
import pytest

from fgnet_jax.distill import cache
from fgnet_jax.distill.cache import CachedFaces, CacheError, LabelledFace, Position
from fgnet_jax.distill.faces import FaceToLabel

SETTINGS = {
    "teachers": [{"name": "a", "sha256": "0" * 64, "aus": [1, 12]}],
    "aus": [1, 12],
    "files": {"every": 1, "names": ["a.png", "b.png"]},
}


def labelled(source, frame, seed=0):
    """Return a face of 16x16 with heatmaps of 4x4."""
    rng = np.random.default_rng([seed, source, frame])
    image = np.full((16, 16, 3), rng.integers(40, 200), np.uint8)
    face = FaceToLabel({16: image}, face_id=3, labels=np.array([1, -1], np.int8) if source == 0 else None)
    maps, scores = rng.normal(size=(4, 4, 2)).astype(np.float16), rng.normal(size=2).astype(np.float32)
    return LabelledFace(face, image, source, frame, heatmaps=maps, scores=scores)


@pytest.fixture
def filled(tmp_path):
    """Return a complete cache of five faces in two shards, and the faces."""
    faces = [labelled(0, 1), labelled(0, 2), labelled(1, 1), labelled(1, 5), labelled(1, 5, seed=1)]
    assert not cache.begin(tmp_path, SETTINGS)
    cache.write_shard(tmp_path, 0, faces[:2], left_out=1)
    cache.write_shard(tmp_path, 1, faces[2:], left_out=2)
    cache.finish(tmp_path, SETTINGS, {"faces": 5, "left_out": 3})
    return tmp_path, faces


def test_faces_come_back_as_they_were(filled):
    """Heatmaps and scores to the bit, images to what JPEG leaves of them; labels where they were known."""
    folder, faces = filled
    opened = CachedFaces(folder)
    assert len(opened) == 5 and opened.counts == {"faces": 5, "left_out": 3}
    assert opened.source.tolist() == [0, 0, 1, 1, 1] and opened.frame.tolist() == [1, 2, 1, 5, 5]
    for k, face in enumerate(faces):
        loaded = opened.load(k)
        np.testing.assert_array_equal(loaded["heatmaps"], face.heatmaps)
        np.testing.assert_array_equal(loaded["scores"], face.scores)
        np.testing.assert_allclose(loaded["image"].astype(int), face.image, atol=2)
        assert loaded["labels"].tolist() == ([1, -1] if face.source == 0 else [-1, -1])
        assert np.isnan(loaded["landmarks"]).all()


def test_it_knows_how_far_it_is(filled, tmp_path):
    """Behind the last frame of the last shard, with what was left out before."""
    assert cache.position(tmp_path) == Position(shards=2, faces=5, left_out=3, after=(1, 5))
    assert cache.begin(tmp_path, SETTINGS), "complete"
    assert cache.position(tmp_path / "no") == Position()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"teachers": [{"name": "b", "sha256": "1" * 64, "aus": [1, 12]}]}, "teachers.0.name: 'a' there, 'b' here"),
        ({"files": {"every": 2, "names": ["a.png", "b.png"]}}, "files.every: 1 there, 2 here"),
        ({"aus": [1]}, r"aus: \[1, 12\] there, \[1\] here"),
    ],
)
def test_other_teachers_faces_or_options_are_refused(filled, change, line):
    """What differs is named."""
    folder, _ = filled
    with pytest.raises(CacheError, match=f"was begun with other teachers, faces or options(.|\n)*{line}"):
        cache.begin(folder, SETTINGS | change)


def test_a_file_that_has_changed_is_refused_until_all_are_read(tmp_path):
    """By its size; then the files are not needed any more."""
    cache.begin(tmp_path, SETTINGS, {"a.png": 100, "b.png": 7})
    assert not cache.begin(tmp_path, SETTINGS, {"a.png": 100})
    with pytest.raises(CacheError, match="b.png: 7 bytes there, 8 here"):
        cache.begin(tmp_path, SETTINGS, {"a.png": 100, "b.png": 8})
    cache.finish(tmp_path, SETTINGS, {"faces": 0, "left_out": 0})
    assert cache.begin(tmp_path, SETTINGS, {"b.png": 8})


def test_of_many_files_the_one_that_differs_is_named(tmp_path):
    """Not all of them."""
    names = [f"{k}.png" for k in range(100)]
    cache.begin(tmp_path, {"files": {"names": names}})
    with pytest.raises(CacheError) as refusal:
        cache.begin(tmp_path, {"files": {"names": [*names[:50], "other.png", *names[51:]]}})
    assert "files.names.50: '50.png' there, 'other.png' here" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 2
    with pytest.raises(CacheError) as refusal:
        cache.begin(tmp_path, {"files": {"names": names[40:50]}})
    lines = str(refusal.value).splitlines()
    assert "files.names.0: '0.png' there, '40.png' here" in lines[1] and lines[-1].strip() == "and 90 more"
    assert len(lines) == 12, "whatever is as long as the list of files"


def test_damage_is_named(filled):
    """A flipped bit of a heatmap, a shard that is cut short or gone, an index that is no JSON."""
    folder, faces = filled
    second = folder / "shard_00001.npz"
    content = second.read_bytes()
    flipped = bytearray(content)
    flipped[content.index(faces[3].heatmaps.tobytes())] ^= 1
    for damaged in (bytes(flipped), content[: len(content) // 2]):
        second.write_bytes(damaged)
        with pytest.raises(CacheError, match="shard_00001.npz: damaged"):
            CachedFaces(folder)
    second.write_bytes(content)
    (folder / "shard_00000.npz").rename(folder / "aside")
    with pytest.raises(CacheError, match="shard_00000.npz is missing"):
        CachedFaces(folder)
    (folder / "index.json").write_text("{")
    with pytest.raises(CacheError, match="index.json: damaged"):
        cache.begin(folder, SETTINGS)
    (folder / "index.json").unlink()
    with pytest.raises(CacheError, match="has shards, but no index.json"):
        cache.begin(folder, SETTINGS)
