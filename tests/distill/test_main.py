"""The command line: its help, what it refuses in a line, faces of whole images and videos, and kill -9."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.distill import __main__ as distill
from fgnet_jax.distill import cache, defaults
from fgnet_jax.distill.faces import FaceInputs
from fgnet_jax.distill.teachers import Teachers
from fgnet_jax.faces import finder
from fgnet_jax.faces.finder import FinderOptions
from fgnet_jax.media import frames, sources
from fgnet_jax.predict.pipeline import PredictOptions
from fgnet_jax.train.defaults import ConfigError
from tests.distill import small
from tests.miniature import place, write_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a teacher and aligned faces."""
    path = tmp_path_factory.mktemp("main")
    small.teacher(path / "teacher")
    small.faces(path / "images", 21)
    return path


def arguments(folder, output, *more):
    """Return a command line."""
    words = [
        "--teacher",
        folder / "teacher",
        "--faces",
        folder / "images",
        "--aligned",
        "--output",
        output,
        "--no_cache",
    ]
    return [*map(str, words), *small.words(), *more]


def test_a_run_that_was_killed_goes_on(folder, tmp_path, monkeypatch, capsys):
    """With kill -9, in the middle of a shard: what was whole is kept, and no teacher sees it again."""
    words = arguments(folder, tmp_path / "run")
    killed = subprocess.run([sys.executable, "-c", small.KILLED, *words], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert "run/faces: 21 faces and their heatmaps will be kept here, about" in killed.stderr
    assert cache.position(tmp_path / "run" / "faces").faces == 8
    counts, start = [], Teachers.start
    monkeypatch.setattr(
        Teachers, "start", lambda self, faces, *of: counts.append(len(faces[64])) or start(self, faces, *of)
    )
    assert distill.main(words) == 0
    assert sum(counts) == 21 - 8 and (tmp_path / "run" / "best").is_dir()
    printed = capsys.readouterr()
    assert "8 are there" in printed.err and "19 faces to train on, 2 held out" in printed.err
    assert "AU12" in printed.out and "results.json" in printed.out
    assert not [*(tmp_path / "run" / "faces").glob(".*.tmp")], "what the kill left of the third shard"


def test_faces_of_images_and_videos_are_aligned_as_predict_does(tmp_path):
    """For each network by itself, at its own size; positions grow, so that a cache can go on behind any."""
    images, landmarks, _ = random_faces("synthetic_disfa", 3)
    scenes = [place(images[k], landmarks[k]).image for k in range(2)]
    Image.fromarray(scenes[0]).save(tmp_path / "a.png")
    write_video(tmp_path / "b.mp4", [scenes[1]] * 3, "libx264")
    found = sources.find([str(tmp_path / "a.png"), str(tmp_path / "b.mp4"), str(tmp_path / "missing.png")])
    inputs = FaceInputs(found, PredictOptions(), None, (64, 32), (1, 12))
    labelled = list(inputs.frames())
    assert [(frame.source, frame.number) for frame in labelled] == [(0, 1), (1, 1), (1, 2), (1, 3), (2, 1)]
    assert [len(frame.faces) for frame in labelled] == [1, 1, 1, 1, 0] and inputs.expected is None
    for side in (64, 32):
        direct = [frame.faces for frame in finder.find(frames.read(found), FinderOptions(size=side))]
        for frame, faces in zip(labelled, direct, strict=True):
            for ours, theirs in zip(frame.faces, faces, strict=True):
                np.testing.assert_array_equal(ours.images[side], theirs.aligned)
    rest = list(inputs.frames(after=(1, 2)))
    assert [(frame.source, frame.number) for frame in rest] == [(1, 3), (2, 1)]
    np.testing.assert_array_equal(rest[0].faces[0].images[32], labelled[3].faces[0].images[32])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no faces: give --faces, images, videos or folders, or a corpus"),
        (["--faces", "none.mp4"], "--faces: nothing to read: none.mp4: there is no such file or folder"),
        (["--config.optim.lrr=1"], "--config.optim.lrr: there is no such key; did you mean --config.optim.lr?"),
        (["--config.train.steps=many"], "--config.train.steps=many: expected a value of type int, such as 20000"),
        (["--config", "demo"], "--config demo: is no student's configuration: `fgnet-jax train` takes it"),
        (["--teacher", "nowhere", "--faces", "."], "nowhere: no such weights directory"),
        (["--config.seed=-1", "--faces", "."], "seed must be at least 0 and below 2**32, got -1"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(words, message, folder, tmp_path, capsys):
    """The last one, with status 2; nothing is left behind."""
    given = ["--teacher", str(folder / "teacher"), "--output", str(tmp_path / "run"), *words]
    assert distill.main(given) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_the_teachers_own_folder_is_refused(folder, capsys):
    """Afterwards, its path would mean the student."""
    before = sorted((folder / "teacher").rglob("*"))
    assert distill.main(arguments(folder, folder / "teacher")) == 2
    assert "teacher is a weights directory, where no run can be" in capsys.readouterr().err.splitlines()[-1]
    assert sorted((folder / "teacher").rglob("*")) == before


def test_overrides_are_spelled_either_way():
    """With `=` or without, with `-` or `_`; values by the type of their key."""
    rest, overrides = defaults.split_overrides(
        ["--faces", "a.png", "--config.train.batch-size", "8", "--config.model.channels=(8, 8, 16)", "--largest"]
    )
    assert rest == ["--faces", "a.png", "--largest"]
    config = defaults.load("student:corpus=disfa,fold=2,seed=1", [*overrides, "--config.distill.flip=false"])
    assert (config.train.batch_size, config.model.channels, config.distill.flip) == (8, (8, 8, 16), False)
    assert (config.data.corpus, config.data.fold, config.seed) == ("disfa", 2, 1)
    assert config.name == "disfa_f2_student_s1"
    with pytest.raises(ConfigError, match="is a section; its keys are"):
        defaults.load("student", ["--config.train=3"])
