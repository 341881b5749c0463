"""What XLA is told when it compiles the network, for `compiler_options` of `jax.jit`: on CPUs alone."""

import functools

import jax

Options = dict[str, str | bool]

_MEMORY: Options = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
_NO_YNNPACK: Options = {"xla_cpu_experimental_ynn_fusion_type": ""}


def inference() -> Options:
    """Of a forward pass: to mind memory. The usual schedule takes twice as much, and longer for touching it."""
    return _on_cpus(_MEMORY)


def training(remat: str) -> Options:
    """Of a training step with this policy of rematerialisation (`ModelConfig.remat`): to mind memory.

    YNNPACK's kernels round differently on each kind of processor: a step goes without them, a twentieth slower. But
    with them the one that is to need least memory needs a seventh less.
    """
    return _on_cpus(_MEMORY if remat == "twice" else _MEMORY | _NO_YNNPACK)


def _on_cpus(options: Options) -> Options:
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
