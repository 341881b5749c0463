"""New weights at full size: files written by PyTorch, converted and used for prediction by the commands."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.aus import PUBLISHED_CHANNELS
from tests.parity import reference, reference_weights

pytestmark = pytest.mark.full_size

torch = pytest.importorskip("torch")

SALT = "weights of another seed"
AUS = PUBLISHED_CHANNELS["disfa"]


def _command(module: str, *arguments: object) -> None:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A directory with the published files and two images, and PyTorch's heatmaps (2, 128, 128, 8) of the images."""
    from benchmarks.torch_fgnet import FGNet, files

    directory = tmp_path_factory.mktemp("published")
    states = {part: reference_weights.state_dict(part, SALT) for part in ("interpreter", "generator", "encoder")}
    files.save_published(directory, **states, latent_avg=reference_weights.latent_avg(SALT))
    images = reference_weights.images(SALT)
    for name, image in zip("ab", images, strict=True):
        Image.fromarray(image).save(directory / f"{name}.png")
    network = FGNet(reference.PUBLISHED).eval()
    files.load_arrays(network, **states, latent_avg=reference_weights.latent_avg(SALT))
    with torch.inference_mode():
        heatmaps = network(torch.from_numpy(images.transpose(0, 3, 1, 2) / np.float32(127.5) - 1))
    return directory, heatmaps.numpy().transpose(0, 2, 3, 1)[..., : len(AUS)]


def test_converted_files_predict_what_pytorch_does(published):
    """Heatmaps agree to 1e-4, and AUs are the same; overlays are written."""
    directory, expected = published
    _command(
        "convert_weights", "--fgnet", directory / "model.pth", "--encoder", directory / "psp_ffhq_encode.pt",
        "--corpus", "disfa", "--output", directory / "weights",
    )  # fmt: skip
    _command(
        "fgnet_jax.predict", "--weights", directory / "weights", "--aligned", "--csv", directory / "out.csv",
        "--heatmaps", directory / "out.npz", "--overlays", directory / "out", directory / "a.png", directory / "b.png",
    )  # fmt: skip
    with np.load(directory / "out.npz") as out:
        np.testing.assert_allclose(out["heatmaps"], np.clip(expected, -1, 1), rtol=0, atol=1e-4)
        scores = np.clip(expected, -1, 1).mean((1, 2))
        np.testing.assert_allclose(out["scores"], scores, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(out["scores"] > 0, scores > 0)
        assert tuple(out["aus"]) == AUS
    assert len(list((directory / "out").glob("*.png"))) == 2
