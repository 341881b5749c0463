"""The page in a real browser: files, videos and a camera in; faces, bars, heatmaps, time line and downloads out."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.app.conftest import AUS, TIMEOUT

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Playwright's pipes, closed by its own process
]


def drop(page, *paths) -> None:
    """Drop files on the page."""
    page.locator("#file input[type=file]").set_input_files([str(path) for path in paths])


def overlay(page) -> np.ndarray:
    """Return the image that is shown, float (h, w, 3)."""
    source = page.locator("#overlay img").get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(page.request.get(source).body())).convert("RGB"), np.float32)


def wait_for_another(page, source: str) -> None:
    """Wait until another image is shown."""
    page.wait_for_function("old => document.querySelector('#overlay img').src != old", arg=source)


def shown_source(page) -> str:
    """Return the address of the image that is shown."""
    return page.locator("#overlay img").evaluate("image => image.src")


def downloaded(page, button: str) -> tuple[str, bytes]:
    """Click on a button and return name and content of what it downloads."""
    with page.expect_download() as download:
        page.locator(button).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def wait_for_frame(page, number: int) -> None:
    """Wait until a frame of a numbered clip is shown: by words, by the slider, and by the image itself."""
    page.locator("#caption", has_text=f"frame {number} of 12").wait_for()
    page.wait_for_function(
        "number => document.querySelector('#frame input[type=number]').value == number", arg=str(number)
    )
    length = 0.0
    for _ in range(TIMEOUT // 100):
        bar = overlay(page)[-16].mean(-1) > 128
        length = bar.mean() * 320 / 4
        if round(length) == number:
            return
        page.wait_for_timeout(100)
    pytest.fail(f"frame {number}: the image is that of frame {length:.1f}")


def test_at_first_an_example_is_shown(page, directory):
    """With the network, its AUs by name, and two faces, of which a click on the image chooses one."""
    head = page.locator(".fg-head")
    assert "FG-Net" in head.inner_text() and "disfa" in head.inner_text() and "AU12" in head.inner_text()
    assert f"weights {directory} for" in head.inner_text()
    head.locator("summary").click()
    assert "lip corner puller" in head.inner_text()
    page.locator("#status", has_text="2 faces").wait_for()
    for change, words in (("check", "1 face."), ("uncheck", "2 faces.")):
        getattr(page.locator("#largest input"), change)()
        page.locator("#status", has_text=words).wait_for()
    box = page.locator("#overlay img").bounding_box()
    for x, other in ((0.25, 0.75), (0.75, 0.25)):
        before = page.locator("#bars").inner_text()
        page.mouse.click(box["x"] + other * box["width"], box["y"] + 0.6 * box["height"])
        page.wait_for_function("old => document.querySelector('#bars').innerText != old", arg=before)
        before = page.locator("#bars").inner_text()
        page.mouse.click(box["x"] + x * box["width"], box["y"] + 0.6 * box["height"])
        page.wait_for_function("old => document.querySelector('#bars').innerText != old", arg=before)


def test_an_image_gives_all_results(page, photograph):
    """Show face, bars and table, offer downloads of the image's name, and show heatmaps at clicks on bars."""
    drop(page, photograph)
    page.locator("#caption", has_text="astronaut.png").wait_for()
    assert page.locator("#bars .au-bar").count() == len(AUS)
    assert "lip corner puller" in page.locator("#bars").inner_text()
    shown, original = overlay(page), Image.open(photograph).convert("RGB")
    plain = np.asarray(original.resize((shown.shape[1], shown.shape[0]), Image.Resampling.LANCZOS), np.float32)
    changed = np.abs(shown - plain).max(2) > 8
    height, width = changed.shape
    assert changed[: height // 2, width // 4 : 3 * width // 4].mean() > 0.02, "the face is in the upper middle"
    assert changed[3 * height // 4 :, : width // 4].mean() < 0.01, "and not in the corner"
    page.locator("#table", has_text="AU12_score").wait_for()
    name, content = downloaded(page, "#csv")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert name == "astronaut.csv" and {row["input"] for row in rows} == {"astronaut.png"}
    name, content = downloaded(page, "#faces")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        faces = [Image.open(io.BytesIO(archive.read(member))) for member in names]
    assert name == "astronaut_faces.zip" and [face.size for face in faces] == [(64, 64)] * len(rows)
    assert names == [f"astronaut-{row['face_id']}.png" for row in rows]
    for k in (0, 2, -1):  # the last: all that are present, again
        before = shown_source(page)
        page.locator(f'#bars [data-au="{k}"]').click()
        wait_for_another(page, before)
        page.locator(f'#bars [data-au="{k}"][aria-pressed="true"]').wait_for()


def test_a_text_file_named_jpg_gives_a_message(page, tmp_path):
    """Show a message with the file's name and no traceback, and nothing of an earlier file."""
    path = tmp_path / "notes.jpg"
    path.write_text("milk, eggs, bread")
    drop(page, path)
    alert = page.get_by_role("alert").filter(has_text="notes.jpg")
    alert.wait_for()
    assert "Traceback" not in alert.inner_text() and len(alert.inner_text()) > len("notes.jpg: ")
    assert page.locator("#bars .au-bar").count() == 0 and not page.locator("#csv").is_visible()


def test_an_image_without_a_face_gives_a_message(page, tmp_path):
    """Show a message and the image itself, whose name may look like a template."""
    name = "${1+1} {{sky}} <b>.png"
    Image.new("RGB", (320, 240), (30, 90, 160)).save(tmp_path / name)
    drop(page, tmp_path / name)
    page.get_by_role("alert").filter(has_text=f"{name}: no face found").wait_for()
    np.testing.assert_allclose(overlay(page)[200, 300], (30, 90, 160), atol=2)


def test_frame_number_and_image_agree(page, clips):
    """However the number is changed: by keys, typing (a number beyond the end, too), the mouse, and the time line."""
    drop(page, clips / "short.mp4")
    page.locator("#status", has_text="in 12 of 12 frames").wait_for()
    wait_for_frame(page, 1)
    slider, number = page.locator("#frame input[type=range]"), page.locator("#frame input[type=number]")
    slider.focus()
    for _ in range(4):
        slider.press("ArrowRight")
    wait_for_frame(page, 5)
    number.fill("9")
    wait_for_frame(page, 9)
    number.fill("99")  # still in hand: neither blurred nor Enter
    wait_for_frame(page, 12)
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.locator("#caption", has_text="frame 6 of 12").or_(
        page.locator("#caption", has_text="frame 7 of 12")
    ).wait_for()
    wait_for_frame(page, int(number.input_value()))
    curve = page.locator("#timeline svg.tl-plot").nth(2)
    curve.scroll_into_view_if_needed()
    plot = curve.bounding_box()
    page.mouse.click(plot["x"] + 2.5 / 12 * plot["width"], plot["y"] + 5)
    wait_for_frame(page, 3)
    cursor = page.locator("#timeline .tl-cursor").bounding_box()
    assert abs(cursor["x"] + 1 - plot["x"] - 2.5 / 12 * plot["width"]) < 4


def test_a_video_has_a_player_and_downloads(page, clips):
    """Play and offer the drawn video, as long as the file; act on options without a new upload."""
    drop(page, clips / "short.mp4")
    page.locator("#status", has_text="in 12 of 12 frames").wait_for()
    page.wait_for_function("() => document.querySelector('#player video')?.readyState >= 1")
    assert 0.4 < page.locator("#player video").evaluate("video => video.duration") < 0.8
    name, content = downloaded(page, "#video")
    assert name == "short_aus.mp4" and content[4:8] == b"ftyp"
    page.locator("#every input").fill("3")
    page.locator("#status", has_text="in 4 of 4 frames").wait_for()
    page.locator("#caption", has_text="frame 1 of 12").wait_for()
    page.locator("#largest input").check()
    page.locator("#status", has_text="4 faces in 4 of 4 frames").wait_for()


def test_files_that_stop_has_left_out_can_be_analysed(page, clips, photograph):
    """Without a new upload, by a button that is there only then."""
    drop(page, clips / "long.mp4", photograph)
    page.locator("#progress", has_text="of 700").wait_for()
    page.locator("#stop").click()
    page.locator("#status", has_text="Not analysed (1): astronaut.png").wait_for()
    page.locator("#caption", has_text="of 700").wait_for()
    page.locator("#rest").click()
    page.locator("#caption", has_text="astronaut.png").wait_for()
    page.locator("#status", has_text="1 of 2 files have all results").wait_for()
    assert "Not analysed" not in page.locator("#status").inner_text() and not page.locator("#rest").is_visible()


def test_the_image_stays_in_sight(page):
    """However far down the list of AUs one scrolls."""
    bar = page.locator("#bars .au-bar").last
    page.locator("#table").scroll_into_view_if_needed()
    page.evaluate("() => window.scrollTo(0, 0)")
    bar.scroll_into_view_if_needed()
    bar.click()
    page.locator('#bars .au-bar[aria-pressed="true"]').wait_for()
    image, last = page.locator("#overlay img").bounding_box(), bar.bounding_box()
    assert page.evaluate("window.scrollY") > 0 and 0 <= last["y"] <= 800 and image["y"] >= 0


def test_the_last_file_is_the_one_that_is_shown(page, clips, photograph):
    """X ends the run of a long video, a new file begins at once, and Stop keeps what is done."""
    drop(page, clips / "long.mp4")
    page.locator("#progress", has_text="of 700").wait_for()
    page.get_by_label("Clear").click()
    page.locator("#caption", has_text="Drop an image").wait_for()
    page.locator("#progress", has_text="long").wait_for(state="hidden")  # by an event of its own, after the caption
    page.locator("#stop").wait_for(state="hidden")
    drop(page, photograph)
    page.locator("#caption", has_text="astronaut.png").wait_for()
    drop(page, clips / "long.mp4")  # beside the photograph
    page.locator("#progress", has_text="of 700").wait_for()
    drop(page, clips / "short.mp4")  # while the long one is running: it comes first
    page.locator("#caption", has_text="short.mp4").wait_for()
    page.locator("#progress", has_text="long.mp4 (file 2 of 2): frame").wait_for()
    page.locator("#stop").click()
    page.locator("#stop").wait_for(state="hidden")
    assert "short.mp4" in page.locator("#caption").inner_text(), "what is looked at stays"
    page.locator("#files_shown input").click()
    page.get_by_role("option", name="long.mp4").click()
    page.locator("#status", has_text="stopped at frame").wait_for()
    assert "long.mp4" in page.locator("#caption").inner_text()
    name, content = downloaded(page, "#csv")
    assert name == "long.csv" and 1 < len(content.decode().splitlines()) < 1400


def test_two_people_at_once(open_page, clips, photograph):
    """Have results and choices of their own, one of them while the other's long video is running."""
    first, second = open_page(), open_page()
    drop(first, clips / "long.mp4")
    first.locator("#progress", has_text="of 700").wait_for()
    drop(second, photograph)
    second.locator("#caption", has_text="astronaut.png").wait_for()
    second.locator('#bars [data-au="3"]').click()
    second.locator("#caption", has_text="AU06 cheek raiser").wait_for()
    assert first.locator("#stop").is_visible() and not second.locator("#stop").is_visible()
    first.locator("#stop").click()
    first.locator("#caption", has_text="long.mp4").wait_for()
    assert first.locator('#bars [data-au="-1"]').get_attribute("aria-pressed") == "true"
    assert "astronaut.png" in second.locator("#caption").inner_text()


def test_a_telephone_shows_everything_in_its_width(open_page, clips):
    """Without scrolling sideways, and with heatmaps by a touch."""
    page = open_page(390, 844)
    drop(page, clips / "short.mp4")
    page.locator("#status", has_text="in 12 of 12 frames").wait_for()
    page.locator('#timeline [data-au="5"]').click()
    page.locator("#caption", has_text="AU12 lip corner puller").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    label = page.locator("#overlay label").bounding_box()
    assert label is None or label["width"] <= 1, "it would cover a face in the image's corner"
    for part in ("#overlay img", "#close img", "#bars", "#timeline", "#player", "#csv", "#faces"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["width"] > 150, part


def test_a_camera_is_analysed_while_its_tab_is_open(page):
    """Show the face that the camera sees, and the example again afterwards."""
    page.get_by_role("tab", name="Camera").click()
    page.locator("#camera").get_by_title("grant webcam access").locator("button").click()
    page.locator("#camera").get_by_role("button", name="capture photo").click()
    page.locator("#caption", has_text="camera").wait_for()
    page.get_by_role("tab", name="Files").click()
    page.locator("#caption", has_text="example.jpg").wait_for()
