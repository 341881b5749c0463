"""FG-Net's training on your own corpus, with AUs that have no published centres; alone or together with others.

    fgnet-jax train --config own:corpus=my_corpus,fold=0

Arguments: corpus (a name given to `python -m fgnet_jax.prepare csv`), fold, seed, with_ (a further corpus, trained
together with it, on the union of their AUs; an AU that a corpus lacks has no loss there). With fold=all the command
trains every fold that the corpus was prepared with. Hardware: as for disfa.
Expect of an AU only what its number of positive frames allows. Copy this file, and put the centres of your AUs into it.
"""

from fgnet_jax.train import defaults


def get_config(arguments: str | None = None) -> defaults.Config:
    """Return the published recipe, with centres for three more AUs."""
    values = defaults.arguments(arguments, corpus="my_corpus", fold=0, seed=0, with_="")
    config = defaults.published(values["corpus"], f"fold={values['fold']},seed={values['seed']}")
    if values["with_"]:
        config.data.also_train = (values["with_"],)
        config.name += f"_with_{values['with_']}"
    config.centres = (
        (5, (37, 38), (43, 44), 0.0),  # upper lid raiser: the upper lids
        (20, (48,), (54,), 0.0),  # lip stretcher: the corners of the lips
        (43, (37, 38, 40, 41), (43, 44, 46, 47), 0.0),  # eyes closed: the middles of the eyes
    )
    return config
