"""The PyTorch network: published names, the same numbers on both paths, and files that load back."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.models.config import TINY, ModelConfig
from tests.parity import reference_weights

pytest.importorskip("torch")

import torch  # noqa: E402 - after the skip

from benchmarks import torch_fgnet  # noqa: E402
from benchmarks.torch_fgnet import files  # noqa: E402

PARITY = Path(reference_weights.__file__).parent
PARTS = {"interpreter": "interpreter", "g_all": "generator", "pspencoder": "encoder"}
CONFIG = dataclasses.replace(TINY, dropout=0.0)


def _arrays(network: torch_fgnet.FGNet) -> dict[str, dict[str, np.ndarray]]:
    """Create weights from their names, none of them zero: noise, biases and running statistics matter, too."""
    return {
        reference: {
            name: reference_weights.tensor(reference, name, tuple(value.shape))
            for name, value in network.get_submodule(part).state_dict().items()
        }
        for part, reference in PARTS.items()
    }


def _network(fused: bool, config: ModelConfig = CONFIG) -> torch_fgnet.FGNet:
    network = torch_fgnet.FGNet(config, fused).eval()
    latent_avg = np.linspace(-1, 1, network.latent_avg.numel(), dtype=np.float32).reshape(network.latent_avg.shape)
    files.load_arrays(network, **_arrays(network), latent_avg=latent_avg)
    return network


def _images(count: int) -> torch.Tensor:
    pixels = np.random.default_rng(0).uniform(-1, 1, (count, 3, CONFIG.image_size, CONFIG.image_size))
    return torch.from_numpy(pixels.astype(np.float32))


def _relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(actual - expected) / torch.linalg.vector_norm(expected))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("fused", [True, False])
def test_names_and_shapes_are_the_published_ones(part: str, fused: bool):
    """At the published sizes, on the device without memory."""
    published = json.loads((PARITY / f"{PARTS[part]}_keys.json").read_text())
    with torch.device("meta"):
        network = torch_fgnet.FGNet(ModelConfig(), fused)
    state = network.get_submodule(part).state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == published


@pytest.mark.parametrize("count", [1, 3])
def test_paths_agree_on_every_output(count: int):
    """The fused path treats one image and several differently."""
    images = _images(count)
    with torch.inference_mode():
        fused, unfused = (_network(path).outputs(images) for path in (True, False))
    for name in ("codes", "w", "rgb", "heatmaps"):
        assert _relative_error(getattr(fused, name), getattr(unfused, name)) < 1e-5, name
    for side, actual, expected in zip((4, 8, 16, 32, 64), fused.features, unfused.features, strict=True):
        assert actual.shape[-2:] == (side, side)
        assert _relative_error(actual, expected) < 1e-5
    assert unfused.heatmaps.shape == (count, CONFIG.num_heatmaps, CONFIG.heatmap_size, CONFIG.heatmap_size)
    assert unfused.rgb.shape == (count, 3, 64, 64)


@pytest.mark.parametrize("fused", [True, False])
def test_forward_gives_the_heatmaps_of_outputs(fused: bool):
    """Although the fused path omits the last style and the image."""
    network, images = _network(fused), _images(2)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), network.outputs(images).heatmaps)


@pytest.mark.parametrize("count", [1, 2])
def test_paths_agree_on_gradients_in_training(count: int):
    """Same loss and gradients; running statistics are updated; what heatmaps do not need has no gradient, or zero."""
    networks = [_network(path).train() for path in (True, False)]
    losses = [network(_images(count)).square().mean() for network in networks]
    for loss in losses:
        loss.backward()
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
    fused, unfused = (dict(network.named_parameters()) for network in networks)
    total = torch.nn.utils.get_total_norm([p.grad for p in unfused.values() if p.grad is not None])
    for name, expected in unfused.items():
        actual = fused[name].grad
        if actual is None:
            unread = name.startswith((f"pspencoder.styles.{CONFIG.num_styles - 1}.", "g_all.to_rgb"))
            assert unread and (expected.grad is None or not expected.grad.any()), name
            continue
        assert expected.grad is not None, name
        error = torch.linalg.vector_norm(actual - expected.grad)
        assert error < 1e-4 * torch.linalg.vector_norm(expected.grad) + 1e-6 * total, name
    for name, updated in dict(networks[0].named_buffers()).items():
        if name.endswith("running_mean"):
            before = reference_weights.tensor(PARTS[name.split(".")[0]], name.split(".", 1)[1], tuple(updated.shape))
            assert not np.allclose(updated.numpy(), before), name


def test_dropout_acts_in_training_alone():
    """Two passes differ in training mode and are the same in evaluation mode."""
    network, images = _network(True, dataclasses.replace(TINY, dropout=0.5)), _images(2)
    with torch.inference_mode():
        assert torch.equal(network(images), network(images))
        network.train()
        assert not torch.allclose(network(images), network(images))


def test_unmapped_codes_are_w():
    """`map_codes=False` omits the mapping network."""
    with torch.inference_mode():
        outputs = _network(True, dataclasses.replace(CONFIG, map_codes=False)).outputs(_images(1))
    assert torch.equal(outputs.codes, outputs.w)


def test_mapping_matches_the_golden_numbers():
    """The published mapping network's own w of its own codes, at the published width."""
    golden = np.load(PARITY / "golden_inference.npz")
    with torch.device("meta"):
        mapping = torch_fgnet.FGNet(ModelConfig(), True).g_all.style
    shapes = {name: tuple(value.shape) for name, value in mapping.state_dict().items()}
    weights = {name: reference_weights.tensor("generator", f"style.{name}", shape) for name, shape in shapes.items()}
    mapping.load_state_dict(files.tensors(weights), strict=True, assign=True)
    with torch.inference_mode():
        w = mapping(torch.from_numpy(golden["codes"]))
    torch.testing.assert_close(w, torch.from_numpy(golden["w"]), rtol=1e-4, atol=1e-4)


def test_files_hold_what_published_files_hold(tmp_path: Path):
    """Three files that `weights_only` loading accepts, with the published layout and the same values."""
    network = _network(True)
    arrays = _arrays(network)
    latent_avg = network.latent_avg.numpy()
    files.save_published(tmp_path, **arrays, latent_avg=latent_avg)

    model = torch.load(tmp_path / "model.pth", weights_only=True)
    assert list(model) == ["interpreter", "g_all", "pspencoder"]
    for part, reference in PARTS.items():
        network.get_submodule(part).load_state_dict(model[part], strict=True)
        for name, value in model[part].items():
            np.testing.assert_array_equal(value, arrays[reference][name])

    psp = torch.load(tmp_path / "psp_ffhq_encode.pt", weights_only=True)
    assert {name.split(".")[0] for name in psp["state_dict"]} == {"encoder", "decoder"}
    np.testing.assert_array_equal(psp["latent_avg"], latent_avg)
    assert isinstance(psp["opts"], dict)

    g_ema = torch.load(tmp_path / "stylegan2-ffhq-config-f.pt", weights_only=True)["g_ema"]
    assert list(g_ema) == list(arrays["generator"])


def test_loading_is_strict():
    """A missing tensor and a wrong latent_avg are named."""
    network = _network(True)
    arrays, latent_avg = _arrays(network), network.latent_avg.numpy()
    with pytest.raises(RuntimeError, match="latent_avg"):
        files.load_arrays(network, **arrays, latent_avg=latent_avg[:3])
    del arrays["generator"]["input.input"]
    with pytest.raises(RuntimeError, match="input.input"):
        files.load_arrays(network, **arrays, latent_avg=latent_avg)


@pytest.mark.full_size
@pytest.mark.parametrize("fused", [True, False])
def test_full_size_matches_the_golden_numbers(fused: bool):
    """Both paths at the published sizes: codes, w, features, image and heatmaps of the published code."""
    network = torch_fgnet.FGNet(ModelConfig(), fused).eval()
    arrays = {reference: reference_weights.state_dict(reference) for reference in PARTS.values()}
    files.load_arrays(network, **arrays, latent_avg=reference_weights.latent_avg())
    images = torch.from_numpy(reference_weights.images()).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        outputs = network.outputs(images)
    actual = {name: getattr(outputs, name) for name in ("codes", "w", "rgb", "heatmaps")}
    actual |= {f"feature{i}": feature for i, feature in enumerate(outputs.features)}
    golden = np.load(PARITY / "golden_inference.npz")
    for name, value in actual.items():
        stride = int(golden.get(f"{name}_stride", 1))
        expected = golden[name].ravel()
        taken = value.numpy().ravel()[::stride][: expected.size]
        assert np.abs(taken - expected).max() < 1e-4 * expected.std(), name
