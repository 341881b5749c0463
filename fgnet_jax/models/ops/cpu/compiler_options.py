"""XLA's options for compiling the network, for `compiler_options` of `jax.jit`: most of them for CPUs."""

import functools

import jax

CompilerOptions = dict[str, str | bool]
"""Values by XLA's names."""

_MEMORY: CompilerOptions = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
_NO_YNNPACK: CompilerOptions = {"xla_cpu_experimental_ynn_fusion_type": ""}
_AS_WRITTEN: CompilerOptions = {"xla_allow_excess_precision": False}
_WHOLE_MAPS: CompilerOptions = {
    "xla_tpu_run_space_to_batch": False,
    "xla_tpu_run_space_to_batch_on_new_platforms": False,
}


def inference(platform: str, *, is_small: bool = False) -> CompilerOptions:
    """Return options for a forward pass: a schedule that saves memory; the default takes twice as much, and longer.

    Args:
      platform: The platform that the program is for.
      is_small: Whether the network is a student, of maps so small that YNNPACK's kernels take a third longer on CPUs
        than XLA's others (docs/student.md).
    """
    return _on_cpus(platform, _MEMORY | _NO_YNNPACK if is_small else _MEMORY)


def training(platform: str) -> CompilerOptions:
    """Return options for a training step: a schedule that saves memory, and no YNNPACK.

    On CPUs, YNNPACK's kernels round differently on each kind of processor. Without them, a step takes a twentieth
    longer. On GPUs, what is saved for the backward pass in bfloat16 stays in it: by default XLA drops a conversion to
    bfloat16 that is followed by one to float32, and saves float32, which takes twice the memory and the time. On TPUs,
    maps of fewer than eight images stay whole: by default XLA cuts them up to have eight, and copies them to and fro.
    """
    if platform == "gpu":
        return dict(_AS_WRITTEN)
    if platform == "tpu":
        return _known_here(platform, _WHOLE_MAPS)
    return _on_cpus(platform, _MEMORY | _NO_YNNPACK)


def _on_cpus(platform: str, options: CompilerOptions) -> CompilerOptions:
    return _known_here(platform, options) if platform == "cpu" else {}


def _known_here(platform: str, options: CompilerOptions) -> CompilerOptions:
    """Return those options that this JAX knows: all of them if its compiler is that of an absent device."""
    if jax.default_backend() != platform:
        return dict(options)
    return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: str | bool) -> bool:
    """Return whether this JAX knows an option. XLA renames options; one that a release does not know is left out."""
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "INVALID_ARGUMENT" not in str(error):
            raise
        return False
    return True
