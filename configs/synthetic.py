"""All protocols on the two synthetic corpora: what `python -m fgnet_jax.evaluate protocol all` trains, run by run.

    python -m fgnet_jax.train --config configs/synthetic.py:corpus=synthetic_bp4d,fold=0

Arguments: corpus, fold, samples (0: all), updates (published, or equal), frames (of the corpus; 0: as many as the
data-efficiency curve needs), steps (an epoch; there are eight). Hardware: any computer. Expect a mean F1 of 0.6 to 0.8
within a corpus: the network is smaller than the demo's and sees faces of 32x32, so that twelve runs take minutes.
"""

from configs import base, demo

FRAMES = {"synthetic_bp4d": 18000, "synthetic_disfa": 3600}
"""Of the first, two folds less the held-out subjects are just more than the 10,000 frames of the curve."""


def get_config(arguments: str | None = None):
    """The demo, smaller, at a constant rate: all runs then share one compiled step."""
    defaults = {"corpus": "synthetic_bp4d", "fold": 0, "samples": 0, "updates": "published", "frames": 0, "steps": 40}
    values = base.arguments(arguments, **defaults)
    config = demo.get_config()
    base.choose(config, values["corpus"], values)
    config.data.also_test = ()
    config.data.frames = values["frames"] or FRAMES.get(values["corpus"], 3600)
    config.model.image_size = 32
    config.model.encoder_channels = (16, 32, 48)
    config.model.encoder_units = (1, 1, 1)
    config.model.style_dim = 48
    config.model.generator_channels = (48, 48, 32, 16)
    config.model.heatmap_size = 16
    config.optim.schedule = "constant"
    config.train.epochs = 8
    config.train.steps_per_epoch = values["steps"]
    config.train.eval_frames = 400
    config.train.checkpoint_steps = 1000
    return config
