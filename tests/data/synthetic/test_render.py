"""Rendered faces: the same seed gives the same bytes, AUs show where they act, and landmarks follow."""

import dataclasses

import numpy as np
import pytest

from fgnet_jax import aus
from fgnet_jax.data.synthetic.identity import Identity, sample_identity
from fgnet_jax.data.synthetic.projection import PosedFace, View, align_face
from fgnet_jax.data.synthetic.render import render_face, render_posed
from fgnet_jax.data.synthetic.shape import RENDERED_AUS, face_shape

QUIET = View(noise=0.0)


@pytest.fixture(scope="module")
def identity() -> Identity:
    """Return a symmetrical identity."""
    return dataclasses.replace(sample_identity(np.random.default_rng(3)), asymmetry=0.0)


def _centres(au: int, landmarks: np.ndarray) -> list[np.ndarray]:
    centre = aus.CENTRES[au]
    drop = np.array((0, centre.down * np.linalg.norm(landmarks[42] - landmarks[39])))
    return [landmarks[list(part)].mean(0) + drop for part in (centre.first, centre.second)]


def test_same_seed_same_bytes(identity: Identity) -> None:
    """A face depends on its arguments alone."""
    view = View(yaw=3, pitch=-2, seed=5, blur=1)
    first, second = (render_face(identity, {12: 3.0}, view) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.landmarks.tobytes() == second.landmarks.tobytes()
    other = render_face(identity, {12: 3.0}, dataclasses.replace(view, seed=6))
    assert (other.image != first.image).any()


def test_face_is_framed_as_ffhq_does(identity: Identity) -> None:
    """Eyes level and a little above the middle, the mouth about three quarters down."""
    face = render_face(identity, {}, View())
    assert face.image.shape == (256, 256, 3) and face.image.dtype == np.uint8
    assert face.landmarks.shape == (68, 2) and face.landmarks.dtype == np.float32
    left, right = face.landmarks[36:42].mean(0), face.landmarks[42:48].mean(0)
    assert abs(left[1] - right[1]) < 1
    assert 0.44 < left[1] / 256 < 0.5
    assert 0.70 < face.landmarks[48:55:6, 1].mean() / 256 < 0.78


@pytest.mark.parametrize("au", RENDERED_AUS)
def test_every_au_shows_near_its_centres(identity: Identity, au: int) -> None:
    """Under one projection, pixels change at least three times as much around an AU's heatmap centres as elsewhere."""
    base = {25: 3.0} if au == 26 else {}  # a jaw drops visibly where the lips let it
    shapes = face_shape(identity, base), face_shape(identity, {**base, au: 4.0})
    projection = align_face(shapes[0], QUIET)
    rest, face = (
        render_posed(PosedFace(identity=identity, shape=shape, projection=projection, view=QUIET)) for shape in shapes
    )
    change = np.abs(face.image.astype(float) - rest.image).mean(-1)
    rows, columns = np.mgrid[:256, :256]
    near = np.zeros((256, 256), bool)
    for x, y in _centres(au, rest.landmarks):
        near |= np.hypot(columns - x, rows - y) < 24
    assert change[near].mean() > 3
    assert change[near].mean() > 3 * change[~near].mean()


@pytest.mark.parametrize("au", RENDERED_AUS)
def test_change_grows_with_intensity(identity: Identity, au: int) -> None:
    """The higher an AU's intensity, the more the face differs from rest; a small step changes it little."""
    rest = render_face(identity, {}, QUIET).image.astype(float)
    change = [np.abs(render_face(identity, {au: k}, QUIET).image - rest).mean() for k in (0.5, 1, 2, 3, 4, 5)]
    assert all(a < b for a, b in zip(change, change[1:], strict=False))
    close = np.abs(
        render_face(identity, {au: 3.02}, QUIET).image - render_face(identity, {au: 3.0}, QUIET).image.astype(float)
    )
    assert close.mean() < 0.1 * change[3]


@pytest.mark.parametrize(
    ("au", "landmark", "axis", "sign"),
    [
        (1, 21, 1, -1),
        (2, 18, 1, -1),
        (4, 21, 1, 1),
        (4, 21, 0, 1),
        (7, 41, 1, -1),
        (9, 31, 1, -1),
        (10, 50, 1, -1),
        (12, 48, 1, -1),
        (12, 48, 0, -1),
        (15, 54, 1, 1),
        (17, 8, 1, -1),
        (23, 48, 0, 1),
        (24, 51, 1, 1),
        (25, 66, 1, 1),
        (26, 8, 1, 1),
    ],
)
def test_landmarks_follow(identity: Identity, au: int, landmark: int, axis: int, sign: int) -> None:
    """Brows rise with AU 1 and 2, lip corners with 12, the chin drops with 26 ... by at least two pixels."""
    rest, shown = face_shape(identity, {}).landmarks, face_shape(identity, {au: 5}).landmarks
    assert sign * (shown - rest)[landmark, axis] > 2


def test_symmetrical_face_has_symmetrical_landmarks(identity: Identity) -> None:
    """Left and right landmarks mirror each other: the numbering is dlib's on both sides."""
    points = face_shape(identity, {1: 3, 12: 4, 26: 3, 25: 3}).landmarks
    for left, right in [
        (0, 16),
        (17, 26),
        (21, 22),
        (31, 35),
        (36, 45),
        (37, 44),
        (39, 42),
        (41, 46),
        (48, 54),
        (60, 64),
    ]:
        np.testing.assert_allclose(points[left] * (-1, 1), points[right], atol=1e-4)


def test_lips_never_cross() -> None:
    """Upper landmarks stay above lower ones, for any AUs and any identity."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        intensities = {au: float(rng.integers(0, 6)) for au in RENDERED_AUS}
        points = face_shape(sample_identity(rng), intensities).landmarks
        assert (points[[61, 62, 63], 1] <= points[[67, 66, 65], 1] + 1e-4).all()
        assert (points[[50, 51, 52], 1] < points[[61, 62, 63], 1]).all()
        assert (points[[37, 38, 43, 44], 1] < points[[41, 40, 47, 46], 1]).all()


def test_unknown_au_is_refused(identity: Identity) -> None:
    """An AU that the renderer cannot show is an error, not a face at rest."""
    with pytest.raises(ValueError, match="cannot render AU 5"):
        render_face(identity, {5: 3}, QUIET)
