"""What a tab shows, whatever ends when: the last files, or nothing."""

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.app import analysis, rendering
from fgnet_jax.app import view as view_lib
from fgnet_jax.app.analysis import FrameCount
from fgnet_jax.app.session import Session
from fgnet_jax.app.state import Upload
from fgnet_jax.app.uploads import Uploads
from fgnet_jax.app.view import FileView
from fgnet_jax.predict import pipeline
from fgnet_jax.predict.pipeline import PredictOptions

OPTIONS = PredictOptions()


@pytest.fixture
def session(detector, tmp_path):
    """Return a session whose results lie in `tmp_path / "tab"`."""
    return Session(detector, tmp_path / "tab", Uploads(tmp_path / "uploads"))


@pytest.fixture
def video(clips):
    """Return a long video."""
    return Upload(str(clips / "long.mp4"), "long.mp4")


@pytest.fixture
def image(photograph):
    """Return a photograph, under a name that no path would have."""
    return Upload(str(photograph), "Müller (2).png")


def folders(tmp_path) -> list[str]:
    """Return the folders of results that are on the disk."""
    return sorted(path.name for path in (tmp_path / "tab").glob("*"))


def begun(session, uploads, clock, options=OPTIONS):
    """Begin a run and let it work until it has done a frame."""
    run = session.begin(uploads, options, clock)
    work = session.work(run)
    while run.count.done == 0:
        next(work)
    return run, work


def test_a_run_that_was_overtaken_shows_nothing(session, video, image, tmp_path):
    """End it at its next frame, with its threads and its files."""
    before = threading.active_count()
    _, old = begun(session, [video], 1)
    new = session.work(session.begin([image], OPTIONS, 2))
    for _ in new:
        pass
    shown = session.view
    assert shown is not None and shown.name == "Müller (2).png"
    for _ in old:
        pass
    assert session.view is shown and session.paths == (image.path,)
    assert folders(tmp_path) == [shown.key]
    assert threading.active_count() == before


def test_a_run_that_is_overtaken_before_its_file_leaves_nothing(session, video, image, tmp_path):
    """The names of its files are its own: the session has those of the later one."""
    old = session.work(session.begin([video], OPTIONS, 1))
    session.begin([image], OPTIONS, 2)
    assert len(list(old)) == 2 and folders(tmp_path) == []


def test_an_earlier_request_that_comes_late_changes_nothing(session, video, image):
    """Go by the browser's time, not by the order in which requests come."""
    for _ in session.work(session.begin([image], OPTIONS, 2)):
        pass
    assert session.begin([video], OPTIONS, 1) is None
    assert session.paths == (image.path,) and session.run is None and session.view.name == "Müller (2).png"


def test_a_late_result_is_dropped(session, image, tmp_path, monkeypatch):
    """Show nothing after X, although the network had finished before."""
    for _ in session.work(session.begin([image], OPTIONS, 1)):
        pass
    late = session.view

    def finished(*arguments, **options):
        yield FrameCount(1, 1)
        session.begin([], OPTIONS, 3)  # X, between the last frame and the result
        return late

    monkeypatch.setattr(analysis, "analyse", finished)
    for _ in session.work(session.begin([image], PredictOptions(largest=True), 2)):
        pass
    assert session.view is None and session.results == {} and folders(tmp_path) == []


def test_stop_keeps_what_is_done(session, video):
    """Have a table, a playable video and a frame of the part that is done."""
    _, work = begun(session, [video], 1)
    session.stop()
    for _ in work:
        pass
    view = session.view
    assert view.is_partial and 0 < view.numbers[-1] < 700 and view.shown.rows
    assert view.csv.read_text().count("\n") == len(view.rows) + 1 and view.video.stat().st_size > 0
    status = rendering.status(session.snapshot())
    assert f"stopped at frame {view.numbers[-1]} of 700" in status and "frames analysed" in status


def test_stop_names_the_files_that_were_not_analysed(session, video, image, photograph):
    """They stay, and are analysed when the same files are requested again; the stopped one has not all results."""
    other = Upload(str(photograph.parent / "absent.png"), "absent.png")
    _, work = begun(session, [video, image, other], 1)
    assert session.snapshot().left_out == ()
    session.stop()
    for _ in work:
        pass
    stopped, status = session.view, rendering.status(session.snapshot())
    assert session.snapshot().left_out == (image.path, other.path)
    assert "Not analysed (2): Müller (2).png, absent.png." in status and "0 of 3 files have all results" in status
    assert "Stopped (1): long.mp4." in status
    run = session.begin([video, image, other], OPTIONS, 2)
    assert run.paths == (image.path, other.path)
    for _ in session.work(run):
        pass
    assert session.results[video.path] is stopped and session.snapshot().left_out == ()
    assert "1 of 3 files have all results" in rendering.status(session.snapshot())


def test_a_browser_that_leaves_ends_the_run(session, video, tmp_path):
    """End when the generator is closed, as Gradio does, and leave no files when the tab is closed."""
    before = threading.active_count()
    run, work = begun(session, [video], 1)
    work.close()
    assert run.ending.cancel.is_set() and session.run is None and threading.active_count() == before
    session.close()
    assert not (tmp_path / "tab").exists()


def test_what_comes_after_a_tab_was_closed_changes_nothing(session, image, photograph, tmp_path, monkeypatch):
    """Neither the camera's last image, nor files, nor a drawing is stored again."""
    session.show_camera(True)
    analyse = analysis.analyse

    def closed(*arguments, **options):
        session.close()
        yield from ()
        options["folder"].mkdir(parents=True)  # as if it had been at work in it
        return (yield from analyse(*arguments, **options))

    monkeypatch.setattr(analysis, "analyse", closed)
    session.look(np.asarray(Image.open(photograph).convert("RGB"))[:256], OPTIONS)
    assert (
        session.begin([image], OPTIONS, 2) is None and session.save_drawing("close", Image.new("RGB", (8, 8))) is None
    )
    session.show_camera(True)
    assert session.view is None and not session.is_live and not (tmp_path / "tab").exists()


def test_other_options_compute_again_and_other_files_do_not(session, image, photograph, tmp_path):
    """Keep results of files that stay, and drop those of other options."""
    for _ in session.work(session.begin([image], OPTIONS, 1)):
        pass
    first = session.view
    other = tmp_path / "sky.png"
    Image.fromarray(np.full((64, 64, 3), 120, np.uint8)).save(other)
    for _ in session.work(session.begin([image, Upload(str(other), "sky.png")], OPTIONS, 2)):
        pass
    assert session.results[image.path] is first and session.view.name == "sky.png", "the new file is shown"
    for _ in session.work(session.begin([image], PredictOptions(largest=True), 3)):
        pass
    largest = session.view
    assert largest is not first and len(largest.rows) == 1 and folders(tmp_path) == [largest.key]


def test_a_frame_of_a_file_that_is_not_shown_any_more_is_ignored(session, clips, image):
    """Go by the key of the file whose frame was chosen."""
    short = Upload(str(clips / "short.mp4"), "short.mp4")
    for _ in session.work(session.begin([short], OPTIONS, 1)):
        pass
    key = session.view.key
    session.choose_frame(key, 7)
    assert session.view.shown.number == 7
    for _ in session.work(session.begin([short], PredictOptions(every=2), 2)):
        pass
    session.choose_frame(key, 9)
    assert session.view.shown.number == 1


def test_a_camera_leaves_files_as_they_are(session, image, photograph):
    """Show the camera's last image while its tab is open, and then the file again."""
    for _ in session.work(session.begin([image], OPTIONS, 1)):
        pass
    file = session.view
    camera = np.asarray(Image.open(photograph).convert("RGB"))[:256]
    session.look(camera, OPTIONS)
    assert session.view is file, "its tab is not open"
    session.show_camera(True)
    session.look(camera, OPTIONS)
    assert isinstance(session.view, FileView) and session.view.name == "camera" and session.view.shown.rows
    session.show_camera(False)
    assert session.view is file and list(session.results) == [image.path]


def test_a_cameras_faces_are_followed(session, photograph, monkeypatch):
    """One image after the other, with numbers that stay, and how late each result is."""
    session.show_camera(True)
    camera = np.asarray(Image.open(photograph).convert("RGB"))[:256]
    monkeypatch.setattr(pipeline, "detect_faces", None)  # which would search each image anew
    numbers = []
    for _ in range(3):
        session.look(camera, OPTIONS)
        numbers.append([row.face_id for row in session.view.rows])
    assert numbers == [[0]] * 3 and session.view.latency > 0
    assert "result after " in view_lib.caption(session.view, None, None)


def test_a_late_image_of_the_camera_is_dropped(session, photograph, monkeypatch):
    """While another is being analysed: it does not wait for its turn."""
    session.show_camera(True)
    camera = np.asarray(Image.open(photograph).convert("RGB"))[:256]
    analyse, looks = analysis.analyse, []

    def slow(*arguments, **options):
        looks.append(1)
        session.look(camera, OPTIONS)  # which would wait for itself
        return analyse(*arguments, **options)

    monkeypatch.setattr(analysis, "analyse", slow)
    session.look(camera, OPTIONS)
    assert looks == [1] and session.view.name == "camera"


def test_a_camera_does_not_fill_the_disk(session, photograph, tmp_path):
    """The last few results and drawings stay, for the browser may still be loading them; without the camera, none."""
    session.show_camera(True)
    camera = np.asarray(Image.open(photograph).convert("RGB"))[:256]
    for _ in range(7):
        session.look(camera, OPTIONS)
        drawing = session.save_drawing("image", Image.fromarray(camera))
        assert drawing is not None and Path(drawing).exists() and session.view.csv.exists()
    assert len(folders(tmp_path)) == 8 and len(list((tmp_path / "tab").rglob("*.csv"))) == 4
    session.show_camera(False)
    session.save_drawing("image", None)
    assert folders(tmp_path) == []


def test_uploads_are_removed_when_they_are_shown_no_more(session, detector, photograph, tmp_path):
    """When they are taken off the page, by a request that was overtaken, and by closing the tab."""
    paths = [tmp_path / "uploads" / name / "face.png" for name in ("first", "second", "late")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_bytes(photograph.read_bytes())
    first, second, late = (Upload(str(path), path.name) for path in paths)
    session.begin([first, second], OPTIONS, 2)
    assert session.begin([late], OPTIONS, 1) is None
    assert [path.exists() for path in paths] == [True, True, False]
    session.begin([second], PredictOptions(largest=True), 3)
    assert [path.exists() for path in paths] == [False, True, False]
    session.close()
    assert list((tmp_path / "uploads").iterdir()) == []
