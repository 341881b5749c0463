"""A network and a corpus so small that training takes seconds: for tests, and to try a machine.

    fgnet-jax train --config tiny --workdir /tmp/tiny

Arguments: fold, seed, steps (per epoch; there are two epochs). Expect no useful F1.
"""

from fgnet_jax.train import defaults


def get_config(arguments: str | None = None) -> defaults.Config:
    """Return the demo with a few faces and the narrowest network."""
    values = defaults.arguments(arguments, fold=0, seed=0, steps=3)
    config = defaults.load_config_file("demo").get_config(f"fold={values['fold']},seed={values['seed']}")
    config.name = config.name.replace("demo", "tiny")
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
    config.train.steps_per_epoch = values["steps"]
    config.train.eval_batch_size = 8
    config.train.checkpoint_steps = 2
    return config
