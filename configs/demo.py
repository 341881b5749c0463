"""The whole chain on synthetic faces, from nothing: render two corpora, train a small network, test it on both.

    fgnet-jax train --config demo

Arguments: fold, seed. Hardware: any computer; under ten minutes on two CPU cores, and under 4 GB. Expect a mean F1 of
0.83 over the twelve AUs of the synthetic stand-in for BP4D, on subjects that it was not trained on, and of 0.45 over
five of the stand-in for DISFA, whose faces look different.
"""

from fgnet_jax.train import defaults


def get_config(arguments: str | None = None) -> defaults.Config:
    """Return a small network to train from scratch, on faces of 64x64 with a generator of 32x32."""
    config = defaults.get_config()
    values = defaults.arguments(arguments, fold=0, seed=0)
    name = f"demo_f{values['fold']}" if values["fold"] else "demo"
    config.name = defaults.run_name(name, values["seed"])
    config.seed, config.data.fold = values["seed"], values["fold"]
    config.data.corpus = "synthetic_bp4d"
    config.data.also_test = ("synthetic_disfa",)
    config.data.frames = 3600
    config.data.threads = 2

    config.model.image_size = 64
    config.model.encoder_channels = (16, 32, 48, 64)
    config.model.encoder_units = (1, 1, 1, 1)
    config.model.style_dim = 64
    config.model.mapping_layers = 2
    config.model.generator_channels = (64, 48, 32, 16)
    config.model.heatmap_size = 32
    config.model.num_heatmaps = 16

    config.optim.lr = 2e-3
    config.optim.clip = 1.0
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 50

    config.train.batch_size = 32
    config.train.epochs = 9
    config.train.steps_per_epoch = 100
    config.train.eval_batch_size = 32
    config.train.checkpoint_steps = 50
    return config
