"""Drawings of whole images: readable at any size, with boxes, names and heatmaps of all faces."""

import dataclasses
import itertools
import types

import numpy as np
import pytest
from PIL import ImageDraw

from fgnet_jax.faces.alignment import Alignment
from fgnet_jax.visualization import face_sheet, painting, scene
from tests.faces.heatmaps import PLACES, blobs, turned

AUS = (1, 6, 12)


def face(width, height, name="0", present=(True, False, True)):
    """Make a face to be drawn that fills half of the image."""
    side = min(width, height) / 2
    alignment = turned(width, height, scale=side / 256)
    box = (width / 2 - side / 2, height / 2 - side / 2, side, side)
    maps = blobs(PLACES)
    return scene.SceneFace(
        name=name,
        box=box,
        alignment=alignment,
        heatmaps=maps,
        scores=maps.mean((0, 1)),
        present=np.array(present),
    )


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((64, 64), (640, 640)), ((640, 480), (853, 640)), ((1280, 720), (1280, 720)), ((6000, 4000), (1920, 1280))],
)
def test_every_size_is_drawn_readably(size, drawn):
    """Draw a thumbnail as well as a photograph of 24 megapixels: neither tiny nor huge, the legend in proportion."""
    image = np.full((size[1], size[0], 3), 128, np.uint8)
    canvas = scene.draw(image, [face(*size)], AUS)
    assert canvas.height == drawn[1] and 0.3 < (canvas.width - drawn[0]) / drawn[1] < 0.8
    shown = np.asarray(canvas)[:, : drawn[0]].astype(int)
    x, y = face(*size).alignment.to_image(PLACES[0]) * (drawn[0] / size[0])
    around = shown[int(y) - 12 : int(y) + 12, int(x) - 12 : int(x) + 12]
    assert np.ptp(around, axis=-1).max() > 40  # AU01's colour
    assert (shown[2:20, 2:20] == 128).all()


def test_drawings_of_one_video_have_one_size():
    """Draw any number of faces."""
    image = np.zeros((480, 640, 3), np.uint8)
    faces = [face(640, 480, str(k)) for k in range(7)]
    sizes = {scene.draw(image, faces[:count], AUS).size for count in (0, 1, 2, 5, 7)}
    assert len(sizes) == 1


@pytest.mark.parametrize("box", [(-50.0, -50.0, 60.0, 60.0), (630.0, 470.0, 80.0, 80.0), (10.0, 10.0, 0.0, 0.0)])
def test_faces_at_the_image_border_are_drawn(box):
    """Draw boxes partly outside, as detectors return them."""
    at = np.array([box[0], box[1]])
    alignment = Alignment(np.array([[0.4, 0, at[0]], [0, 0.4, at[1]]]), 256)
    at_border = dataclasses.replace(face(640, 480, "12"), box=box, alignment=alignment)
    assert scene.draw(np.zeros((480, 640, 3), np.uint8), [at_border], AUS).height == 640


def test_names_are_drawn_over_heatmaps():
    """Keep a face's name readable where AUs are: the legend refers to it."""
    plain = dataclasses.replace(face(640, 640), box=(260.0, 260.0, 120.0, 120.0))
    x, y = round(plain.box[0]) + 16, round(plain.box[1]) - 17  # the middle of the name
    at = plain.alignment.to_aligned(np.array([x, y]))
    covered = dataclasses.replace(plain, heatmaps=blobs([at] * 3), present=np.ones(3, bool))
    bare = dataclasses.replace(plain, present=np.zeros(3, bool))
    names = [
        np.asarray(scene.draw(np.full((640, 640, 3), 90, np.uint8), [drawn], AUS))[y - 10 : y + 10, x - 10 : x + 10]
        for drawn in (covered, bare)
    ]
    np.testing.assert_array_equal(names[0], names[1])
    assert names[0].max() > 200 > 60 > names[0].min(), "dark on light"


@pytest.fixture
def written(monkeypatch):
    """Return the texts that drawings write, and the boxes of their labels, as they are drawn."""
    record = types.SimpleNamespace(texts=[], labels=[])
    text, tag = ImageDraw.ImageDraw.text, painting.tag

    def write(pen, xy, words, *arguments, **options):
        record.texts.append(words)
        return text(pen, xy, words, *arguments, **options)

    def label(image, box, **options):
        record.labels.append((options["text"], box))
        return tag(image, box, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", write)
    monkeypatch.setattr(painting, "tag", label)
    return record


def crowd(count, size, side, columns):
    """Make faces of an image in rows, the later the larger, each with the same present AUs."""
    faces = []
    for k in range(count):
        grown = side + k / 10
        corner = np.array([k % columns * size[0] / columns, k // columns * side * 1.25])
        linear = np.eye(2) * grown / 256
        box = (*corner.tolist(), grown, grown)
        place = Alignment(np.concatenate([linear, corner[:, None]], 1), 256)
        faces.append(dataclasses.replace(face(*size), name=str(k), box=box, alignment=place))
    return faces


def test_a_crowd_is_drawn_whole_and_counted(written):
    """Name every one of 54 faces, list the five largest, and say that there are 49 more."""
    scene.draw(np.zeros((900, 1600, 3), np.uint8), crowd(54, (1600, 900), 90, 9), AUS)
    assert {name for name, _ in written.labels} == {str(k) for k in range(54)}
    assert "54 faces" in written.texts and "and 49 more faces, smaller: see the table" in written.texts
    listed = written.texts.index("54 faces")
    assert written.texts[listed + 1 : listed + 6] == ["49", "50", "51", "52", "53"]


@pytest.mark.parametrize(("count", "side", "columns"), [(54, 90, 9), (6, 420, 4), (200, 40, 40), (3, 800, 3)])
def test_labels_never_cover_each_other(written, count, side, columns):
    """Place names and AUs apart, of faces that overlap, too, and within the drawing."""
    faces = crowd(count, (1600, 900), side, columns)
    drawn = scene.draw_faces(np.zeros((900, 1600, 3), np.uint8), faces, AUS)
    boxes = [box for _, box in written.labels]
    assert len(boxes) >= count and len({name for name, _ in written.labels}) == count + 2 * (side >= 200)
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)
    assert all(0 <= x and 0 <= y and right <= drawn.width and bottom <= drawn.height for x, y, right, bottom in boxes)


@pytest.mark.parametrize("size", [(8000, 600), (400, 4000), (20000, 200)])
def test_an_extreme_image_has_a_sheet_of_its_faces(written, size):
    """Draw a panorama with faces large enough to be looked at, in a drawing that is no strip."""
    width, height = size
    image = np.full((height, width, 3), 90, np.uint8)
    small = dataclasses.replace(face(*size), name="7")
    drawn = scene.draw(image, [small], AUS)
    scale = scene.drawn_scale(width, height)
    assert max(drawn.size) / min(drawn.size) < max(size) / min(size) / 2
    assert max(width, height) * scale > scene.MAX_SIDE and drawn.width * drawn.height < 16e6
    assert {scene.draw(image, crowd(n, size, 60, 9), AUS).size for n in (0, 1, 4, 30)} == {drawn.size}
    unit = min(max(max(width, height) * scale / scene.MAX_SIDE, 1.0), 2.0)
    sheet = (
        np.asarray(drawn)[round(height * scale) :] if width > height else np.asarray(drawn)[:, round(width * scale) :]
    )
    tile = round(face_sheet.TILE * unit)
    assert (np.abs(sheet.astype(int) - 90).sum(-1) == 0).sum() > tile**2 / 3, "the face's surroundings, enlarged"


def test_a_tile_shows_the_heatmaps_where_they_are(written):
    """Cut the face of a panorama out, its AUs at the same places as in the panorama."""
    image = np.full((400, 4000, 3), 128, np.uint8)
    drawn = face(4000, 400)
    tile = np.asarray(scene._tile(image, drawn, AUS, 320)).astype(int)
    left, side = drawn.box[0] - 0.3 * drawn.box[2], 1.6 * drawn.box[2]
    top = drawn.box[1] - 0.3 * drawn.box[3]
    for place, is_present in zip(PLACES, drawn.present, strict=True):
        x, y = (drawn.alignment.to_image(place) - (left, top)) * 320 / side
        around = tile[int(y) - 6 : int(y) + 6, int(x) - 6 : int(x) + 6]
        assert (np.ptp(around, axis=-1).max() > 40) == is_present
