"""A whole distillation in this process: what it writes, how it resumes, and what it refuses."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

import fgnet_jax
from fgnet_jax.distill import cache, loop
from fgnet_jax.distill.cache import CachedFaces
from fgnet_jax.distill.labelling import NoFacesError
from fgnet_jax.distill.teachers import Teachers
from fgnet_jax.evaluate import inspected
from fgnet_jax.models import lineage, weights
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.train.defaults import ConfigError
from fgnet_jax.train.metrics_writer import read_metrics
from tests.distill import small

COUNT = 22
"""Faces; one of them cannot be read."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a teacher, and faces in it of which one is no image."""
    path = tmp_path_factory.mktemp("distill")
    small.teacher(path / "teacher", corpus="disfa")
    small.faces(path / "images", COUNT)
    (path / "images" / "005.png").write_bytes(b"no image")
    return path


def request(folder, output, **changes):
    """Return the request of a student of these faces."""
    return small.request([folder / "teacher"], [folder / "images"], folder / output, **changes)


@pytest.fixture(scope="module")
def whole(folder):
    """Return a run that was not stopped: its workdir and results."""
    return folder / "whole", loop.distill(request(folder, "whole"))


def values_of(workdir):
    """Read the best weights of a run, as one dictionary."""
    _, variables, _ = weights.load(workdir / "best")
    return variables.params | variables.batch_stats


def test_it_ends_with_a_student_that_predicts(whole, folder):
    """By the workdir, as any run; of the teacher's AUs, about the faces that were aligned for the teacher."""
    workdir, results = whole
    detector = fgnet_jax.Detector.load(workdir)
    assert detector.aus == small.AUS and detector.config.image_size == 32
    predictions = detector.predict([folder / "images" / "000.png"], aligned=True)
    assert predictions.scores.shape == (1, 3)
    assert results == json.loads((workdir / "results.json").read_text())
    assert results["faces"] == {"corpus": 0, "files": 19, "held_out": 2, "left_out": 0}
    assert set(results["by_au"]["agreement"]) == {"AU01", "AU12", "AU25"} and "mean_f1" not in results
    lines = read_metrics(workdir / "metrics.jsonl")
    assert {"loss", "lr", "faces_per_second"} <= set(lines[0])
    measured = {line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line}
    assert set(measured) == {3, 6} and min(measured, key=lambda step: measured[step]) == results["step"]
    assert results["validation_loss"] == pytest.approx(min(measured.values()), rel=1e-5)


def test_its_cache_holds_what_student_and_teacher_saw(whole, folder):
    """Each face as `predict` gives it to a network of this size, after JPEG, and the teacher's scores."""
    faces = CachedFaces(whole[0] / "faces")
    assert len(faces) == COUNT - 1
    names = sorted(path for path in (folder / "images").iterdir() if path.name != "005.png")
    expected = fgnet_jax.Detector.load(folder / "teacher").predict(names[:4], aligned=True)
    np.testing.assert_allclose(faces.scores[:4], expected.scores, atol=1e-5)
    for k, name in enumerate(names[:4]):
        shrunk = np.asarray(Image.open(name).resize((32, 32), Image.Resampling.LANCZOS)).astype(int)
        assert np.abs(faces.load(k)["image"] - shrunk).mean() < 2


def test_its_weights_say_where_they_come_from(whole):
    """The teacher's lineage and its own step; `inspect` shows both."""
    _, _, meta = weights.load(whole[0] / "best")
    first, own = lineage.links(meta)
    assert (first.corpus, own.kind, own.corpus) == ("disfa", lineage.DISTILLED, None)
    assert set(own.teachers) == {"teacher"} and own.faces == {"corpus": 0, "files": 19}
    assert (meta.corpus, meta.extra["step"]) == ("disfa", own.steps)
    assert meta.extra["selection"].startswith("least difference from its teachers' heatmaps on 2 faces")
    shown = "\n".join(inspected.inspect(whole[0]).lines())
    assert "2. distilled whole, from teacher (SHA-256" in shown
    assert "19 faces of files, whose is not recorded" in shown and "DAMAGED" not in shown


def test_a_run_that_is_stopped_ends_with_the_same_weights(whole, folder, monkeypatch):
    """By SIGTERM after the fourth step: the same command goes on, to the same bits."""
    (folder / "stopped").mkdir()
    shutil.copytree(whole[0] / "faces", folder / "stopped" / "faces")
    write = loop.write_metrics

    def stop(run, writer, progress, step, metrics):
        write(run, writer, progress, step, metrics)
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop, "write_metrics", stop)
    with pytest.raises(SystemExit) as ended:
        loop.distill(request(folder, "stopped"))
    assert ended.value.code == 0 and not (folder / "stopped" / "results.json").exists()
    monkeypatch.undo()
    results = loop.distill(request(folder, "stopped"))
    for path, value in values_of(whole[0]).items():
        np.testing.assert_array_equal(value, values_of(folder / "stopped")[path], err_msg=path)
    assert results["validation_loss"] == whole[1]["validation_loss"]
    steps = [line["step"] for line in read_metrics(folder / "stopped" / "metrics.jsonl") if "loss" in line]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_what_teachers_have_seen_they_do_not_see_again(whole, folder, monkeypatch):
    """Labelling that SIGTERM stops keeps what is finished; a complete cache needs no teacher."""
    counts, start = [], Teachers.start

    def counted(self, faces, recordings=()):
        counts.append(len(faces[64]))
        if sum(counts) == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return start(self, faces, recordings)

    monkeypatch.setattr(Teachers, "start", counted)
    with pytest.raises(SystemExit):
        loop.distill(request(folder, "labelling"))
    labelled = cache.position(folder / "labelling" / "faces").faces
    assert labelled == sum(counts) < COUNT - 1, "everything that was begun"
    loop.distill(request(folder, "labelling"))
    assert sum(counts) == COUNT - 1
    first, second = (CachedFaces(path / "faces") for path in (whole[0], folder / "labelling"))
    np.testing.assert_array_equal(first.scores, second.scores)
    loop.distill(request(folder, "labelling"))
    assert sum(counts) == COUNT - 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__batch_size": 2}, "was begun with another configuration(.|\n)*train.batch_size: 4 there, 2 here"),
        ({"distill__label_weight": 1.0}, "distill.label_weight needs a corpus with labels"),
        ({"train__steps": 0}, "train.steps must be at least 1"),
        ({"distill__scale": -1.0}, "distill: scale must be at least 0"),
        ({"model__image_size": 33}, "model: image_size must be a power of two"),
    ],
)
def test_a_configuration_that_cannot_be_run_is_refused(whole, folder, changes, message):
    """With the key's name."""
    output = "whole" if "train__batch_size" in changes else "refused"
    with pytest.raises(ConfigError, match=message):
        loop.distill(request(folder, output, **changes))
    assert not (folder / "refused").exists()


def test_another_teacher_is_refused(whole, folder, tmp_path):
    """And other faces: the cache says what it was begun with."""
    small.teacher(tmp_path / "teacher", corpus="disfa", seed=5)
    other = small.request([tmp_path / "teacher"], [folder / "images"], folder / "whole")
    with pytest.raises(cache.CacheError, match="was begun with other teachers(.|\n)*teachers.0.sha256"):
        loop.distill(other)
    small.faces(tmp_path / "images", 3)
    with pytest.raises(cache.CacheError, match=r"files.names"):
        loop.distill(small.request([folder / "teacher"], [tmp_path / "images"], folder / "whole"))


def test_another_teacher_is_refused_when_the_cache_is_deleted(whole, folder, tmp_path):
    """Its results would be those of a student that has never seen this teacher."""
    shutil.copytree(whole[0], tmp_path / "whole", ignore=shutil.ignore_patterns("faces"))
    small.teacher(tmp_path / "teacher", corpus="disfa", seed=5)
    with pytest.raises(ConfigError, match="was begun with other teachers(.|\n)*teachers.0.sha256"):
        loop.distill(small.request([tmp_path / "teacher"], [folder / "images"], tmp_path / "whole"))
    assert not (tmp_path / "whole" / "faces").exists()


def test_a_finished_run_whose_faces_were_deleted_is_not_labelled_again(whole, folder, tmp_path, monkeypatch):
    """The same command says what it ended with; no teacher is asked."""
    shutil.copytree(whole[0], tmp_path / "whole", ignore=shutil.ignore_patterns("faces"))
    monkeypatch.delattr(Teachers, "start")
    again = loop.distill(small.request([folder / "teacher"], [folder / "images"], tmp_path / "whole"))
    assert again == json.loads(json.dumps(whole[1])) and not (tmp_path / "whole" / "faces").exists()


def test_a_correlation_of_one_face_has_no_value(folder, tmp_path, capsys):
    """It is not 0, which would say that student and teacher have nothing in common."""
    small.faces(tmp_path / "images", 6)
    loop.distill(small.request([folder / "teacher"], [tmp_path / "images"], tmp_path / "run"))
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["faces"]["held_out"] == 1 and results["correlation"] is None
    assert set(results["by_au"]["correlation"].values()) == {None}
    assert not any("correlation" in line for line in read_metrics(tmp_path / "run/metrics.jsonl"))
    mean = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mean"))
    assert mean.split()[3] == "-"


def test_without_a_face_it_ends_with_an_error(folder, tmp_path):
    """Files that cannot be read, and faces whose heatmaps are not finite."""
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(NoFacesError, match="no face in all 1 inputs"):
        loop.distill(small.request([folder / "teacher"], [tmp_path / "a.png"], tmp_path / "run"))
    assert not (tmp_path / "run").exists(), "so that other faces can be given"
    config, variables, _ = weights.load(folder / "teacher")
    variables.params["interpreter/output/bias"] = np.full_like(variables.params["interpreter/output/bias"], np.nan)
    weights.save(tmp_path / "broken", config, variables, WeightsMeta(aus=small.AUS))
    with pytest.raises(NoFacesError, match=r"no face in all 21 inputs|21 faces have heatmaps that are not finite"):
        loop.distill(small.request([tmp_path / "broken"], [folder / "images"], tmp_path / "run2"))
