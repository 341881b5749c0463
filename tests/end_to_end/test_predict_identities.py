"""Numbers of people from the command: across cuts, inputs and a run that was killed; and of every n-th frame."""

import signal

import pytest
from PIL import Image

from tests.end_to_end.predicting import predict, rows  # noqa: F401 - a fixture
from tests.end_to_end.test_predict_media import kill
from tests.faces.people import crossing, people, scene
from tests.miniature import write_video


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Return an image of one person, a video of two who cross, and an image of the other."""
    folder, (a, b) = tmp_path_factory.mktemp("inputs"), people(2)
    Image.fromarray(scene([(b, 150, 80)], 2)).save(folder / "1.png")
    write_video(folder / "2.mp4", [scene(faces) for faces in crossing(a, b)], "libx264")
    Image.fromarray(scene([(a, 150, 80)], 3)).save(folder / "3.png")
    return [folder / name for name in ("1.png", "2.mp4", "3.png")]


def test_every_nth_frame_has_the_rows_of_the_full_run(predict, inputs, tmp_path):  # noqa: F811
    """Numbers, boxes, landmarks and scores, to the last digit."""
    predict("--csv", tmp_path / "all.csv", inputs[1])
    predict("--csv", tmp_path / "some.csv", "--every", 3, inputs[1])
    everything = [row for row in rows(tmp_path / "all.csv") if int(row["frame"]) % 3 == 1]
    assert len(everything) > 11 and rows(tmp_path / "some.csv") == everything


@pytest.mark.slow
def test_people_keep_their_numbers_in_a_run_that_was_killed(predict, inputs, tmp_path):  # noqa: F811
    """In the video, and in the image after it."""
    words, tables = ["--identities", "--smooth", "--batch_size", 3, *inputs], {}
    for name in ("undisturbed", "disturbed"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "disturbed":
            process = predict.start("--csv", "r.csv", *words, cwd=folder)
            assert kill(process, folder / "r.csv", 12, signal.SIGKILL) == -signal.SIGKILL
            words = ["--resume", *words]
        predict("--csv", "r.csv", *words, cwd=folder)
        tables[name] = (folder / "r.csv").read_bytes()
    assert tables["disturbed"] == tables["undisturbed"]
    table = rows(tmp_path / "disturbed" / "r.csv")
    assert {row["face_id"] for row in table if row["input"].endswith("1.png")} == {"0"}
    assert {row["face_id"] for row in table if row["input"].endswith("3.png")} == {"1"}
    assert {row["face_id"] for row in table if row["input"].endswith("2.mp4")} == {"0", "1"}
