"""The packages to install; all else about the distribution is in pyproject.toml.

The configurations lie in configs/, where a checkout shows them, and are installed as fgnet_jax/train/configs/.
"""

from setuptools import find_packages, setup

CONFIGS = "fgnet_jax.train.configs"

setup(
    packages=[*find_packages(include=["fgnet_jax", "fgnet_jax.*", "convert_weights", "convert_weights.*"]), CONFIGS],
    package_dir={CONFIGS: "configs"},
)
