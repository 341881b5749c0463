"""Fine-tuning of FG-Net's published weights on your own corpus: gently, since it has fewer subjects than theirs.

    fgnet-jax train --config finetune:corpus=my_corpus,weights=disfa,fold=0

Arguments: corpus (a name given to `python -m fgnet_jax.prepare csv`), weights (`disfa` or `bp4d` for weights/fgnet_NAME
from `fgnet-jax convert fetch`, or a folder of weights), fold, seed. An AU that the weights know goes on from what they
know; another one begins anew, with centres as in `own`. Hardware: as for disfa, and a little less memory.
Expect the most where your faces and AUs are like theirs; whether less freezing or a higher rate is better, held-out
subjects tell: `validation_loss` and F1 in the run's metrics. Copy this file to try it.
"""

from pathlib import Path

from fgnet_jax.train import defaults


def get_config(arguments: str | None = None) -> defaults.Config:
    """Return the recipe of `own`, from other weights: less is trained, at rates that grow towards the output."""
    values = defaults.arguments(arguments, corpus="my_corpus", weights="disfa", fold=0, seed=0)
    own = ",".join(f"{key}={values[key]}" for key in ("corpus", "fold", "seed"))
    config = defaults.load_config_file("own").get_config(own)
    source = values["weights"]
    config.init_from = f"weights/fgnet_{source}" if source in ("disfa", "bp4d") else source
    config.name = defaults.run_name(f"{values['corpus']}_from_{Path(source).name}_f{values['fold']}", values["seed"])

    # What any face needs: edges and textures, the encoder's first two stages, and the mapping network.
    config.optim.frozen = (
        *("encoder/input_conv", "encoder/input_norm", "encoder/input_prelu"),
        *(f"encoder/body/{block}" for block in range(7)),
        "generator/mapping",
    )
    config.optim.layer_decay = 0.95  # from one trained layer to the one before it
    config.optim.warmup_steps = 200  # while new channels have nothing to say, the others are to stay what they are
    config.train.epochs = 5
    config.train.patience = 2
    return config
