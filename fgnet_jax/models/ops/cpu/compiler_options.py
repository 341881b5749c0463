"""What XLA is told when it compiles the network, for `compiler_options` of `jax.jit`: on CPUs alone."""

import functools

import jax

CompilerOptions = dict[str, str | bool]

_MEMORY: CompilerOptions = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
_NO_YNNPACK: CompilerOptions = {"xla_cpu_experimental_ynn_fusion_type": ""}


def inference() -> CompilerOptions:
    """Options of a forward pass: a schedule that minds memory; the usual one takes twice as much, and is slower."""
    return _on_cpus(_MEMORY)


def training() -> CompilerOptions:
    """Options of a training step: a schedule that minds memory, and no YNNPACK.

    YNNPACK's kernels round differently on each kind of processor: a step goes without them, a twentieth slower.
    """
    return _on_cpus(_MEMORY | _NO_YNNPACK)


def _on_cpus(options: CompilerOptions) -> CompilerOptions:
    if jax.default_backend() != "cpu":
        return {}
    return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: str | bool) -> bool:
    """Whether this JAX takes the option. They are hints, and XLA renames them: another release goes without."""
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "INVALID_ARGUMENT" not in str(error):
            raise
        return False
    return True
