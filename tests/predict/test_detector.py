"""The detector: NumPy in, NumPy out, and weights that carry their own configuration."""

import dataclasses
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import fgnet_jax
from fgnet_jax import aus
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY

AUS = aus.CORPUS_AUS["disfa"]
FACES = np.random.default_rng(0).integers(0, 256, (5, TINY.image_size, TINY.image_size, 3), np.uint8)


def save(path, config=TINY, known=AUS):
    """Write random weights, and return their directory."""
    weights.save(path, config, fgnet.init(config), weights.WeightsMeta(model={}, aus=known, corpus="disfa"))
    return path


def test_predictions_are_what_the_network_computes(directory, detector):
    """Return clipped heatmaps of the weights' AUs, scores as their means, and presence as the scores' sign."""
    predictions = detector.predict(FACES)
    config, variables, _ = weights.load(directory)
    expected = jax.jit(lambda images: fgnet.apply(config, variables, fgnet.normalise(images)))(FACES)
    heatmaps = np.clip(expected[..., : len(AUS)], -1, 1)
    assert predictions.heatmaps is not None
    np.testing.assert_allclose(predictions.heatmaps, heatmaps, atol=1e-5)
    np.testing.assert_allclose(predictions.scores, heatmaps.mean((1, 2)), atol=1e-6)
    np.testing.assert_array_equal(predictions.present, predictions.scores > 0)
    assert 0 < predictions.present.sum() < predictions.present.size
    assert tuple(predictions.aus) == AUS == detector.aus


def test_results_are_plain_numpy_of_the_stated_types(detector):
    """Return no arrays of JAX."""
    predictions = detector.predict(FACES[:3])
    types = {name: getattr(predictions, name) for name in ("aus", "scores", "present", "heatmaps")}
    assert {name: type(value) for name, value in types.items()} == dict.fromkeys(types, np.ndarray)
    assert {name: str(value.dtype) for name, value in types.items()} == {
        "aus": "int32",
        "scores": "float32",
        "present": "bool",
        "heatmaps": "float32",
    }
    assert predictions.heatmaps is not None and predictions.heatmaps.shape == (
        3,
        TINY.heatmap_size,
        TINY.heatmap_size,
        len(AUS),
    )


def test_padding_and_other_faces_change_nothing(detector):
    """Give a face the same scores whatever else is in its batch."""
    together = detector.predict(FACES)
    for i, face in enumerate(FACES):
        np.testing.assert_allclose(detector.predict(face[None]).scores[0], together.scores[i], atol=1e-6)


def test_heatmaps_are_returned_only_if_requested(detector):
    """Leave them out otherwise: they are most of the bytes."""
    assert detector.predict(FACES, heatmaps=False).heatmaps is None
    assert detector.start(FACES[:2]).result(heatmaps=False).heatmaps is None


def test_no_faces_give_empty_results(detector):
    """Keep the shapes right."""
    predictions = detector.predict(FACES[:0])
    assert predictions.heatmaps is not None and len(predictions.heatmaps) == 0
    assert predictions.scores.shape == (0, len(AUS))


def test_the_weights_own_configuration_counts(tmp_path):
    """Read `map_codes`, heatmap size and channels instead of assuming them."""
    config = dataclasses.replace(TINY, heatmap_size=32, num_heatmaps=9)
    mapped = fgnet_jax.Detector.load(save(tmp_path / "a", config, (4, 6))).predict(FACES[:1])
    plain = fgnet_jax.Detector.load(save(tmp_path / "b", dataclasses.replace(config, map_codes=False), (4, 6)))
    assert mapped.heatmaps is not None and mapped.heatmaps.shape == (1, 32, 32, 2) and mapped.aus.tolist() == [4, 6]
    assert np.abs(mapped.scores - plain.predict(FACES[:1]).scores).max() > 1e-3


def test_bfloat16_is_near(directory, detector):
    """Return float32 results within the option's own tolerance."""
    half = fgnet_jax.Detector.load(directory, batch_size=2, dtype="bfloat16").predict(FACES)
    full = detector.predict(FACES)
    assert half.scores.dtype == np.float32
    assert 0 < np.abs(half.scores - full.scores).max() < 0.05


@pytest.mark.parametrize(
    "images",
    [FACES[0], FACES.astype(np.float32), FACES[:, :32], FACES[..., :1], FACES.tolist()],
    ids=["one face", "float", "oblong", "grey", "list"],
)
def test_other_arrays_are_refused_with_what_is_expected(detector, images):
    """Name shape and type."""
    with pytest.raises(ValueError, match=r"uint8 \(N, 64, 64, 3\), got .*; whole images come in a list"):
        detector.predict(images)


def test_tensors_and_pillow_images_are_taken(detector):
    """Of PyTorch, channels first or last, and of Pillow: the same scores as of the array."""
    torch = pytest.importorskip("torch")
    expected, tensor = detector.predict(FACES).scores, torch.from_numpy(FACES)
    for faces in (tensor, tensor.permute(0, 3, 1, 2), jax.numpy.asarray(FACES)):
        np.testing.assert_array_equal(detector.predict(faces).scores, expected)
    for faces in ([Image.fromarray(face) for face in FACES], list(tensor.permute(0, 3, 1, 2))):
        np.testing.assert_allclose(detector.predict(faces, aligned=True).scores, expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"uint8 \(N, 64, 64, 3\), got float32 \(5, 64, 64, 3\)"):
        detector.predict(tensor.permute(0, 3, 1, 2).float())
    with pytest.raises(TypeError, match="expected paths, uint8 arrays or tensors .* or Pillow images, got object"):
        detector.predict([object()])


def test_a_guessed_range_is_a_warning(detector):
    """Such as 12 bits in 16: said once, however many images have it."""
    grey = FACES[0, ..., 0].astype(np.uint16)
    twelve, eight = Image.fromarray(grey << 4), Image.fromarray(FACES[0, ..., 0])
    with pytest.warns(UserWarning, match="array 0: 12 bits in 16") as warned:
        predictions = detector.predict([twelve, twelve, eight], aligned=True)
    assert len(warned) == 1
    np.testing.assert_allclose(predictions.scores[0], predictions.scores[2], atol=1e-6)


def test_weights_that_cannot_detect_are_refused_by_name(tmp_path):
    """Refuse absent and untrained weights, and those with more AUs than heatmaps."""
    untrained, crowded = save(tmp_path / "untrained", known=()), save(tmp_path / "crowded", known=tuple(range(1, 19)))
    for path, reason in ((untrained, "detect no AUs"), (crowded, "18 AUs, but 16"), (tmp_path / "absent", "no such")):
        with pytest.raises(weights.WeightsError, match=f"{path.name}.*{reason}"):
            fgnet_jax.Detector.load(path)


@pytest.mark.parametrize(("options", "reason"), [({"batch_size": 0}, "at least 1"), ({"dtype": "float16"}, "bfloat16")])
def test_options_out_of_range_are_refused(directory, options, reason):
    """Refuse before anything is loaded."""
    with pytest.raises(ValueError, match=reason):
        fgnet_jax.Detector.load(directory, **options)


def test_importing_the_package_is_light():
    """Import JAX and Pillow only with the detector."""
    code = (
        "import sys, fgnet_jax; heavy = {'jax', 'PIL', 'numpy', 'orbax'} & set(sys.modules); assert not heavy, heavy;"
        "fgnet_jax.Detector; assert 'jax' in sys.modules;"
        "heavy = {'torch', 'tensorflow', 'grain'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_has_no_other_surprises():
    """Raise AttributeError for a misspelt name."""
    with pytest.raises(AttributeError, match="Detektor"):
        _ = fgnet_jax.Detektor  # pyright: ignore[reportAttributeAccessIssue]


def test_the_workdir_of_a_run_stands_for_its_best_weights(directory, tmp_path):
    """As in evaluation."""
    (tmp_path / "best").symlink_to(directory)
    assert fgnet_jax.Detector.load(tmp_path).meta == fgnet_jax.Detector.load(directory).meta
