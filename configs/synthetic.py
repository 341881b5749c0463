"""One run of those that `fgnet-jax evaluate protocol all` trains on the two synthetic corpora.

    fgnet-jax train --config synthetic:corpus=synthetic_bp4d,fold=0

Arguments: corpus, fold, seed, samples (0: all), updates (published, or equal), frames (of the corpus; 0: as many as the
data-efficiency curve needs), steps (per epoch; there are eight epochs). Hardware: any computer. Expect a mean F1 of 0.6
to 0.8 within a corpus: the network is smaller than the demo's, with faces of 32x32, so that twelve runs take minutes.
"""

from fgnet_jax.train import defaults

FRAMES = {"synthetic_bp4d": 18000, "synthetic_disfa": 3600}
"""By corpus; two folds of the first, without held-out subjects, have just over the 10,000 frames of the curve."""


def get_config(arguments: str | None = None) -> defaults.Config:
    """Return the demo, smaller, at a constant rate: all runs then share one compiled step."""
    values = defaults.arguments(
        arguments, corpus="synthetic_bp4d", fold=0, seed=0, samples=0, updates="published", frames=0, steps=40
    )
    config = defaults.load_config_file("demo").get_config()
    defaults.choose(config, values["corpus"], values)
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
