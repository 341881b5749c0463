"""The tables: complete for any sizes, and exactly the published names at the published sizes."""

import json
from pathlib import Path

import pytest

from convert_weights import nvidia_rules, rules
from convert_weights.layouts import source_shape
from convert_weights.sources import FGNET_PARTS, LATENT_AVG
from fgnet_jax.models.config import TINY, ModelConfig
from tests.convert_weights.writers import shapes_of

KEYS = Path(__file__).parents[1] / "parity"
FILES = {"g_all": "generator", "pspencoder": "encoder", "interpreter": "interpreter"}
OTHER = ModelConfig(
    image_size=128,
    encoder_channels=(16, 32, 48, 64),
    encoder_units=(2, 1, 3, 2),
    style_dim=24,
    mapping_layers=3,
    generator_channels=(16, 16, 12, 8, 8, 4),
    heatmap_size=64,
    num_heatmaps=12,
)


@pytest.mark.parametrize("config", [TINY, OTHER, ModelConfig()], ids=["tiny", "other", "published"])
def test_tables_fill_every_variable_once(config):
    """For any sizes, each variable of the network has one rule, and each rule a variable of the network."""
    paths = [rule.path for table in FGNET_PARTS.values() for rule in table(config)]
    assert sorted([*paths, LATENT_AVG]) == sorted(shapes_of(config))


@pytest.mark.parametrize("table", [nvidia_rules.tf_generator, nvidia_rules.torch_generator])
@pytest.mark.parametrize("config", [TINY, OTHER, ModelConfig()], ids=["tiny", "other", "published"])
def test_nvidias_tables_fill_the_same_variables(table, config):
    """NVIDIA's names fill the same variables as the published generator's, each from a different name."""
    table_rules = table(config)
    assert sorted(rule.path for rule in table_rules) == sorted(rule.path for rule in rules.generator(config))
    assert len({rule.source for rule in table_rules}) == len(table_rules)


@pytest.mark.parametrize("part", FGNET_PARTS)
def test_published_names_and_shapes(part):
    """At the published sizes, names and shapes are those of the published state dicts, all 857 of them."""
    config = ModelConfig()
    shapes, table = shapes_of(config), FGNET_PARTS[part](config)
    names = {rule.source: list(source_shape(rule.layout, shapes[rule.path])) for rule in table}
    fixed = rules.counters(table) + (rules.generator_fixed(config) if part == "g_all" else ())
    names |= {name: list(value().shape) for name, value in fixed}
    assert names == json.loads((KEYS / f"{FILES[part]}_keys.json").read_text())


@pytest.mark.parametrize(
    "source, path",
    [
        ("G_synthesis/4x4/Conv/weight", "generator/convs/0/kernel"),
        ("G_synthesis/8x8/Conv0_up/mod_bias", "generator/convs/1/modulation/bias"),
        ("G_synthesis/1024x1024/Conv1/noise_strength", "generator/convs/16/noise_strength"),
        ("G_synthesis/noise15", "generator/convs/15/noise"),
        ("G_synthesis/1024x1024/ToRGB/weight", "generator/to_rgbs/8/kernel"),
        ("G_mapping/Dense7/bias", "generator/mapping/7/bias"),
        ("synthesis.b4.conv1.noise_const", "generator/convs/0/noise"),
        ("synthesis.b64.conv0.affine.weight", "generator/convs/7/modulation/kernel"),
        ("synthesis.b64.conv1.weight", "generator/convs/8/kernel"),
        ("synthesis.b1024.torgb.affine.bias", "generator/to_rgbs/8/modulation/bias"),
        ("mapping.fc0.weight", "generator/mapping/0/kernel"),
    ],
)
def test_nvidias_names_at_the_published_sizes(source, path):
    """Some of NVIDIA's names, written out."""
    config = ModelConfig()
    table = (*nvidia_rules.tf_generator(config), *nvidia_rules.torch_generator(config))
    assert {rule.source: rule.path for rule in table}[source] == path
