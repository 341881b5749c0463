"""A student of FG-Net: a small network for real time, which learns the heatmaps of teachers.

    fgnet-jax distill --teacher weights/fgnet_disfa --faces videos/ --output runs/student
    fgnet-jax distill --config student:corpus=disfa,fold=0 --teacher runs/disfa_f0 --output runs/disfa_f0_student

Arguments: corpus (whose training faces are learnt from, without their labels; none by default), fold, seed. Hardware:
any computer; teachers need what `predict` needs. Expect the F1 of its teachers within a few points, where the faces
are like those that it will meet.
"""

from fgnet_jax.distill import defaults as distill_defaults
from fgnet_jax.train import defaults


def get_config(arguments: str | None = None) -> defaults.Config:
    """Return the default student, of faces of 128x128 with heatmaps of 32x32."""
    config = distill_defaults.get_config()
    values = defaults.arguments(arguments, corpus="", fold=0, seed=0)
    corpus = f"{values['corpus']}_f{values['fold']}_student" if values["corpus"] else "student"
    config.name = defaults.run_name(corpus, values["seed"])
    config.seed, config.data.corpus, config.data.fold = values["seed"], values["corpus"], values["fold"]
    return config
