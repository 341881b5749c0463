"""Runs of the command on faces that are aligned already (FG-Net's layout), and on a custom table."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data.corpus import open_corpus
from fgnet_jax.data.jpeg import encode
from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.prepare import __main__ as prepare

SUBJECTS = ("F001", "F003", "M003")


@pytest.fixture(scope="module")
def faces():
    """Render aligned faces; returns them with their landmarks and labels."""
    return random_faces("synthetic_bp4d", 9, seed=5)


@pytest.fixture(scope="module")
def published(faces, tmp_path_factory):
    """Lay BP4D out as FG-Net's code has it: three folds of a subject with three faces."""
    root = tmp_path_factory.mktemp("published")
    aus = CORPUS_AUS["bp4d"]
    for k, (image, points, labels) in enumerate(zip(*faces, strict=True)):
        name = f"{SUBJECTS[k // 3]}/T1/{2440 + k:05d}"
        file, landmarks = (root / f"BP4D/aligned_{kind}/{name}" for kind in ("images", "landmarks"))
        for path in (file, landmarks):
            path.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".jpg").write_bytes(encode(image))
        np.save(landmarks.with_suffix(".npy"), points)
        table = root / f"BP4D/labels/{k // 3}/test.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        if not table.exists():
            table.write_text(",image_path," + ",".join(f"au{au}" for au in aus) + "\n")
        with table.open("a") as stream:
            stream.write(f"{k},BP4D/{name}.jpg," + ",".join(map(str, labels)) + "\n")
    return root


def _run(layout, source, data, *more):
    return prepare.main([layout, "--source", str(source), "--data_dir", str(data), "--workers", "1", *more])


def test_fgnets_faces_are_left_as_they_are(published, faces, tmp_path):
    """Bytes, landmarks and labels, in its folds; landmarks are found beside the images."""
    assert _run("fgnet", published, tmp_path) == 0
    for fold, subject in enumerate(SUBJECTS):
        corpus = open_corpus("bp4d", tmp_path, f"fold_{fold}")
        assert set(corpus.subjects()) == {subject} and len(corpus) == 3
        for k in range(3):
            record, place = corpus.record(k), 3 * fold + k
            image = published / f"BP4D/aligned_images/{subject}/T1/{2440 + place:05d}.jpg"
            assert record["image"] == image.read_bytes() and record["frame"] == 2440 + place
            np.testing.assert_allclose(record["landmarks"], faces[1][place], atol=1e-4)
            np.testing.assert_array_equal(record["labels"], faces[2][place])


def test_without_landmarks_they_are_detected(published, faces, tmp_path):
    """On the aligned faces, which are left as they are nevertheless."""
    root = tmp_path / "copy"
    shutil.copytree(published, root)
    shutil.rmtree(root / "BP4D/aligned_landmarks")
    assert _run("fgnet", root, tmp_path / "data") == 0
    corpus = open_corpus("bp4d", tmp_path / "data", "fold_0")
    distance = np.abs(corpus.record(0)["landmarks"] - faces[1][0]).mean()
    assert 0.1 < distance < 8
    for k in range(3):
        image = root / f"BP4D/aligned_images/{SUBJECTS[0]}/T1/{2440 + k:05d}.jpg"
        assert corpus.record(k)["image"] == image.read_bytes()


def test_landmarks_of_another_square_do_not_move_an_aligned_face(published, faces, tmp_path):
    """Such as a tenth of the image further down; and an image that is not square is no aligned face."""
    root = tmp_path / "copy"
    shutil.copytree(published, root)
    files = [f"BP4D/aligned_{{}}/{SUBJECTS[0]}/T1/{2440 + k:05d}" for k in range(3)]
    np.save(root / (files[0].format("landmarks") + ".npy"), faces[1][0] + [0, 25])
    Image.new("RGB", (320, 256)).save(root / (files[1].format("images") + ".jpg"))
    assert _run("fgnet", root, tmp_path / "data") == 0
    corpus = open_corpus("bp4d", tmp_path / "data", "fold_0")
    assert len(corpus) == 2 and corpus.record(0)["image"] == encode(faces[0][0])
    report = (tmp_path / "data/reports/bp4d/report.json").read_text()
    assert "an aligned face is square, this image is 320x256" in report


def test_a_custom_table_becomes_a_corpus(published, faces, tmp_path):
    """With an AU outside of the fifteen; a missing image and a broken one are reported."""
    images, points, _ = faces
    for k in range(6):
        Image.fromarray(images[k]).save(tmp_path / f"{k}.png")
        landmarks = tmp_path / f"landmarks/{k}.npy"
        landmarks.parent.mkdir(exist_ok=True)
        np.save(landmarks, points[k])
    (tmp_path / "5.png").write_bytes(b"no image")
    rows = [f"{k}.png,person{k % 3},{k % 2},{'' if k else 1}" for k in range(7)]
    (tmp_path / "table.csv").write_text("\n".join(["image,subject,AU43,au12", *rows]))
    words = ["--name", "mine", "--landmarks", str(tmp_path / "landmarks")]
    assert _run("csv", tmp_path, tmp_path / "data", *words) == 0
    corpus = open_corpus("mine", tmp_path / "data", "fold_0+fold_1+fold_2")
    assert corpus.aus == (43, 12) and len(corpus) == 5
    first = corpus[0]
    assert first["labels"].tolist() == [0, 1] and first["subject"] == "person0"
    assert np.abs(first["image"].astype(int) - images[0]).mean() < 3
    report = json.loads((tmp_path / "data/reports/mine/report.json").read_text())
    assert report["problems"]["label without image"]["list"][0]["detail"].endswith("6.png: not there")
    assert "not an image" in report["problems"]["unreadable"]["list"][0]["detail"]
    assert report["all"]["published_frames"] is None and report["published_rates"] == {}


def test_a_folder_with_one_table(tmp_path, capsys):
    """Of commas, else of tabs."""
    (tmp_path / "labels.tsv").write_text("image\tsubject\tau1\na.png\tx\t1\n")
    assert _run("csv", tmp_path, tmp_path / "data", "--name", "mine") == 2
    assert f"{tmp_path}/labels.tsv: none of its 1 images is there" in capsys.readouterr().err


def test_names_that_no_dataset_can_have(tmp_path, capsys):
    """Status 2, before any work."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "table.csv").write_text("image,subject,au1\na.png,x,1\n")
    for name in ("Mine!", "synthetic_mine", ""):
        assert _run("csv", tmp_path, tmp_path / "data", "--name", name) == 2
        assert "expected small letters, digits and _" in capsys.readouterr().err
