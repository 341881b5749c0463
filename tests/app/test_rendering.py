"""What is written on the page for weights, and for files; all of a drawing is of one file."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.app import page, rendering
from fgnet_jax.app import view as view_lib
from fgnet_jax.app.session import Session
from fgnet_jax.app.state import Upload
from fgnet_jax.app.uploads import Uploads
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.predict.pipeline import PredictOptions


@pytest.fixture(scope="module")
def files(clips, photograph, tmp_path_factory):
    """Return files to drop, by name: a video, three images, of which two have the same name, and two damaged ones."""
    folder = tmp_path_factory.mktemp("dropped")
    image = Image.open(photograph).convert("RGB").crop((60, 0, 380, 320))
    for name in ("first", "second"):
        (folder / name).mkdir()
        image.save(folder / name / "face.png")
    Image.new("RGB", (64, 64), (90, 120, 160)).save(folder / "sky.png")
    (folder / "cut.jpg").write_bytes(photograph.read_bytes()[:3000])
    (folder / "notes.png").write_text("milk, eggs, bread")
    names = ("first/face.png", "sky.png", "cut.jpg", "second/face.png", "notes.png")
    paths = [clips / "short.mp4", *(folder / name for name in names)]
    return [Upload(str(path), path.name) for path in paths]


@pytest.fixture(scope="module")
def session(detector, files, tmp_path_factory):
    """Return a session in which these files were analysed."""
    folder = tmp_path_factory.mktemp("session")
    created = Session(detector, folder / "tab", Uploads(folder / "uploads"))
    run = created.begin(files, PredictOptions(), 1.0)
    assert run is not None
    for _ in created.work(run):
        pass
    return created


class Browser:
    """The page's components in the browser: what a drawing leaves out stays as it was."""

    def __init__(self, session):
        """Begin with nothing drawn."""
        self.gradio, self.session, self.values = page.import_gradio(), session, {}

    def draw(self) -> None:
        """Draw the scene, and take the new values."""
        for name, update in rendering.scene(self.gradio, self.session).items():
            if not isinstance(update, dict):
                self.values[name] = update
            elif "value" in update or "choices" in update:
                self.values[name] = update

    def shown_keys(self) -> set[str]:
        """Return the keys of the results that the parts of the page belong to; "" for a file without frames."""
        control = re.search(r'data-key="(\w+)"', self.values["frame"] or "")
        return {str(self.values["csv"]["value"]).split("/")[-2]} | ({control[1]} if control else set())


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_file_that_is_chosen_during_a_drawing_is_drawn_afterwards(session, files, monkeypatch, order):
    """The drawing is of one file, with control and table; and the next one, of the other, has its own."""
    browser, draw = Browser(session), view_lib.draw
    first, second = (files[k].path for k in order)
    session.choose_file(files[4].path)
    browser.draw()
    session.choose_file(first)
    key = session.view.key

    def meanwhile(view, au=None):
        session.choose_file(second)
        return draw(view, au)

    monkeypatch.setattr(view_lib, "draw", meanwhile)
    browser.draw()
    name = session.names[first]
    assert browser.shown_keys() == {key} and f"<b>{name}</b>" in browser.values["caption"]
    assert name in browser.values["status"]
    browser.draw()
    assert browser.shown_keys() == {session.view.key} and session.shown == second
    assert bool(browser.values["frame"]) == (second == files[0].path), "the image has no control, the video has its own"


def test_what_is_missing_is_said_of_all_files(session):
    """How many and which, whatever file is shown."""
    status = rendering.status(session.snapshot())
    assert "3 of 6 files have all results." in status
    assert "Could not be read (2): cut.jpg, notes.png." in status and "No face found (1): sky.png." in status


def test_files_in_the_list_have_names_of_their_own(session):
    """Equal ones are numbered among themselves, and what is missing is said."""
    choices = rendering.scene(page.import_gradio(), session)["files_shown"]["choices"]
    labels = [label for label, _ in choices]
    assert labels == [
        "short.mp4",
        "face.png (1)",
        "sky.png: no face found",
        "cut.jpg: could not be read",
        "face.png (2)",
        "notes.png: could not be read",
    ]


def test_a_file_that_cannot_be_read_is_not_one_without_a_face(session, files):
    """The captions differ."""
    sky, cut = (view_lib.caption(session.results[files[k].path], None, None) for k in (2, 3))
    assert "no face" in sky and "no face" not in cut and "cannot be read" in cut


def test_many_names_are_shortened():
    """Name the first ones and count the others."""
    names = [f"{k}.png" for k in np.arange(20)]
    assert rendering._listed(names).endswith("7.png and 12 more")


def test_weights_that_know_rendered_faces_only_have_a_banner(detector):
    """Above everything that is dropped on the page; others have none."""
    banner = "These weights have learnt from rendered faces only: scores of real faces mean nothing."
    for corpus, is_rendered in (("synthetic_disfa", True), ("disfa", False)):
        meta = WeightsMeta(aus=(1,), corpus=corpus, extra={"trained_on": {"corpus": corpus}})
        text = rendering.head(dataclasses.replace(detector, meta=meta), "demo")
        assert (banner in text and 'role="alert"' in text) == is_rendered and "Facial action units" in text
        assert "inner brow raiser" in text and f"for {corpus}" in text and "<b>demo</b>" in text
