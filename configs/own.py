"""FG-Net's training on a corpus of one's own, with AUs that have no published centres; alone or together with others.

    python -m fgnet_jax.train --config configs/own.py:corpus=my_corpus,fold=0

Arguments: corpus (a name given to `python -m fgnet_jax.prepare csv`), fold, with_ (a further corpus, trained together
with it: the union of their AUs, where an AU that a corpus lacks carries no loss there). Hardware as configs/disfa.py.
Expect of an AU only what its number of positive frames allows. Copy this file, and put the centres of your AUs into it.
"""

from configs import base


def get_config(arguments: str | None = None):
    """The published recipe, with centres for three more AUs."""
    values = base.arguments(arguments, corpus="my_corpus", fold=0, with_="")
    config = base.published(values["corpus"], f"fold={values['fold']}")
    if values["with_"]:
        config.data.also_train = (values["with_"],)
        config.name += f"_with_{values['with_']}"
    config.centres = (
        (5, (37, 38), (43, 44), 0.0),  # upper lid raiser: the upper lids
        (20, (48,), (54,), 0.0),  # lip stretcher: the corners of the lips
        (43, (37, 38, 40, 41), (43, 44, 46, 47), 0.0),  # eyes closed: the middles of the eyes
    )
    return config
