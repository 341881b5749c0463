"""The static page of docs/web in a real browser: a student by onnxruntime-web, from files that are all local."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import fgnet_jax
from fgnet_jax.export import onnx as export
from fgnet_jax.models import fgnet, lineage, weights
from fgnet_jax.models.config import TINY_STUDENT
from fgnet_jax.visualization import painting
from tests.app import static_page
from tests.app.conftest import AUS, TIMEOUT
from tests.app.static_page import PAGE, drop_image, shown_scores

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Playwright's pipes, closed by its own process


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """Return a tiny student whose scores are neither all positive nor all negative."""
    path = tmp_path_factory.mktemp("student") / "weights"
    variables = fgnet.init(TINY_STUDENT, seed=1)
    variables.params["output/kernel"] *= 0.5
    variables.params["output/bias"][: len(AUS)] += np.linspace(-0.9, 0.9, len(AUS), dtype=np.float32)
    weights.save(path, TINY_STUDENT, variables, weights.WeightsMeta(aus=AUS, corpus="disfa"))
    return fgnet_jax.Detector.load(path)


@pytest.fixture(scope="module")
def folder(student, tmp_path_factory):
    """Return a copy of the page's folder with the student, as README.md says; and without ONNX Runtime."""
    folder = static_page.copy_page(tmp_path_factory.mktemp("web") / "web")
    pytest.importorskip("onnx", reason="needs the extra export")
    export.write(student, folder / "student.onnx")
    return folder


@pytest.fixture(scope="module")
def address(folder):
    """Serve the folder; return the address."""
    with static_page.served(folder) as where:
        yield where


@pytest.fixture
def open_web_page(browser, address):
    """Return a function that opens the page; requests to other hosts, and errors of scripts, fail the test."""
    opened, requested, errors = [], [], []

    def open_one(query: str = "", width: int = 1280):
        page = browser.new_page(viewport={"width": width, "height": 900})
        opened.append(page)
        page.set_default_timeout(TIMEOUT)
        page.on("request", lambda request: requested.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address + query)
        return page

    yield open_one
    for page in opened:
        page.close()
    foreign = [where for where in requested if not where.startswith((address, "data:", "blob:"))]
    assert requested and not foreign and not errors, (foreign, errors)


@pytest.fixture
def web_page(folder, open_web_page):
    """Open the page with its network."""
    static_page.copy_runtime(folder)
    page = open_web_page()
    page.locator("body[data-ready]").wait_for()
    yield page
    shutil.rmtree(folder / "ort")


def drawn_face(page) -> np.ndarray:
    """Return the face with its heatmaps, float (h, w, 3)."""
    address = page.locator("#face").evaluate("canvas => canvas.toDataURL()")
    content = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float32)


def test_scores_are_jaxs_and_heatmaps_are_drawn(web_page, student, tmp_path):
    """Of an aligned face of the network's size to 1e-3; and of twice its size, shrunk as by Pillow."""
    faces = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    large = np.asarray(Image.fromarray(faces[1]).resize((64, 64), Image.Resampling.BICUBIC))
    shrunk = np.asarray(Image.fromarray(large).resize((32, 32), Image.Resampling.LANCZOS))
    expected = student.predict(np.stack([faces[0], shrunk]))
    drop_image(web_page, tmp_path / "face.png", faces[0])
    np.testing.assert_allclose(shown_scores(web_page, 1), expected.scores[0], atol=1e-3)
    assert 0 < expected.present[0].sum() < len(AUS)
    assert web_page.locator("#bars .on").count() == expected.present[0].sum()
    before, absent = drawn_face(web_page), web_page.locator("#bars button").nth(int(np.argmin(expected.scores[0])))
    absent.click()
    assert absent.get_attribute("aria-pressed") == "true" and np.abs(drawn_face(web_page) - before).max() > 20
    absent.click()
    np.testing.assert_allclose(drawn_face(web_page), before, atol=3)
    drop_image(web_page, tmp_path / "large.png", large)
    np.testing.assert_allclose(shown_scores(web_page, 2), expected.scores[1], atol=1e-3)


def test_a_face_in_a_photo_is_aligned_by_three_points(web_page, tmp_path):
    """Dragging one changes the face; and no image gives a message."""
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    drop_image(web_page, tmp_path / "photo.png", image)
    before = shown_scores(web_page, 1)
    hint = web_page.locator("#status", has_text="the scores are of no face")
    hint.wait_for()
    stage = web_page.locator("#stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    web_page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.45 * box["height"])
    web_page.mouse.down()
    web_page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.3 * box["height"], steps=3)
    web_page.mouse.up()
    assert shown_scores(web_page, 3) != before
    assert hint.count() == 0 and "action units present" in web_page.locator("#status").inner_text()
    (tmp_path / "notes.png").write_text("milk, eggs, bread")
    web_page.locator("#file").set_input_files(str(tmp_path / "notes.png"))
    web_page.locator("#status.problem", has_text="notes.png is no image").wait_for()


def test_the_camera_runs_until_it_is_stopped(web_page):
    """Frames one after the other; then no more."""
    web_page.locator("#camera").click()
    shown_scores(web_page, 3)
    web_page.locator("#camera", has_text="Stop").click()
    web_page.locator("#camera", has_text="Start").wait_for()


def test_what_has_learnt_from_rendered_faces_only_says_so(web_page, folder, open_web_page):
    """As every command of the package does."""
    assert "mean nothing" not in web_page.locator("#about").inner_text()
    described = json.loads((folder / "student.onnx.json").read_text())
    shutil.copyfile(folder / "student.onnx", folder / "rendered.onnx")
    (folder / "rendered.onnx.json").write_text(json.dumps(described | {"learnt_from": lineage.RENDERED_ONLY}))
    page = open_web_page("?network=rendered.onnx")
    page.locator("#about", has_text="rendered faces only: scores of real faces mean nothing").wait_for()


def test_it_fits_a_phone(web_page, tmp_path):
    """At 360 pixels nothing is wider than the screen."""
    web_page.set_viewport_size({"width": 360, "height": 740})
    drop_image(web_page, tmp_path / "face.png", np.zeros((32, 32, 3), np.uint8))
    shown_scores(web_page, 1)
    assert web_page.evaluate("document.documentElement.scrollWidth") <= 360
    assert web_page.locator("#bars").bounding_box()["width"] > 280


def test_missing_files_are_named(open_web_page):
    """With what to do: the network, and ONNX Runtime, which is not there yet."""
    page = open_web_page("?network=other.onnx")
    page.locator("#status.problem", has_text="other.onnx.json is missing: fgnet-jax export").wait_for()
    page = open_web_page()
    page.locator("#status.problem", has_text="copy onnxruntime-web's two files into ort/, as README.md says").wait_for()


def test_colours_are_those_of_the_package():
    """An AU has one colour everywhere."""
    text = (PAGE / "drawing.js").read_text()
    table = text[text.index("COLOURS = {") :].partition("};")[0]
    found = {int(au): tuple(map(int, rgb.split(","))) for au, rgb in re.findall(r"(\d+): \[([\d, ]+)\]", table)}
    assert found == painting.COLOURS
