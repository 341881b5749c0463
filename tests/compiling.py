"""How tests compile: quickly, as programs of tiny networks hardly run."""

from importlib import metadata


def cheaply() -> str:
    """Return XLA's flags for that, for `XLA_FLAGS`: nothing is optimised, and by the code generator that is quicker.

    What a flag changes is the last bits of results, in all processes of a test alike. Full-size tests, and users, have
    XLA's own choice; so has the newest JAX, which knows one code generator alone.
    """
    flags = ["--xla_backend_optimization_level=0"]
    jaxlib = tuple(int(part) for part in metadata.version("jaxlib").split(".")[:2])
    if jaxlib < (0, 11):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return " ".join(flags)
