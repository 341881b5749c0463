"""A network and a corpus so small that training takes seconds: for tests, and to try a machine.

    python -m fgnet_jax.train --config configs/tiny.py --workdir /tmp/tiny

Argument: steps (per epoch; there are two). Expect nothing of its F1.
"""

from configs import base, demo


def get_config(arguments: str | None = None):
    """The demo with a few faces and the narrowest network."""
    config = demo.get_config()
    config.name = "tiny"
    config.data.frames = 90
    config.data.also_test = ()
    config.data.threads = 1
    config.model.image_size = 32
    config.model.encoder_channels = (16, 16, 16)
    config.model.encoder_units = (1, 1, 1)
    config.model.style_dim = 16
    config.model.generator_channels = (16, 16, 8, 8)
    config.model.heatmap_size = 16
    config.train.batch_size = 8
    config.train.epochs = 2
    config.train.steps_per_epoch = base.arguments(arguments, steps=3)["steps"]
    config.train.eval_batch_size = 8
    config.train.checkpoint_steps = 2
    return config
