"""Figures of compiled programs: what they need of a device, whether they fit, and the table of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.runtime import compiled, sharding, topologies
from fgnet_jax.runtime.compiled import Program
from fgnet_jax.runtime.topologies import GIB, Chip

X = np.zeros((64, 64), np.float32)


def compile_product(**known) -> Program:
    """Figures of a product of matrices, compiled for this machine."""
    lower = lambda: jax.jit(lambda x: (x @ x).sum(0)).lower(X)  # noqa: E731
    return compiled.compile_program(lower, topologies.open_target("cpu"), **known)


def test_a_program_is_measured():
    """Its arguments, results, FLOPs; the arrays beside it count, too."""
    program = compile_product(images=4, arguments=0, beside=1000)
    assert (program.images, program.arguments, program.results) == (4, 64 * 64 * 4, 64 * 4)
    assert program.flops is not None and program.flops == pytest.approx(2 * 64**3, rel=0.1)
    assert program.temporaries is not None
    assert program.needed == program.arguments + program.results + program.temporaries + 1000
    assert program.collectives == {} and program.seconds is None and program.refusal == ""


def test_a_loop_is_counted_as_often_as_it_runs():
    """XLA counts it once. Bytes are those of the loop, without what an optimiser may move outside of it."""

    def products(x: jax.Array) -> jax.Array:
        grown = jnp.tile(x, (1, 64))
        return jax.lax.fori_loop(0, 8, lambda k, y: x @ y + k, grown).sum(0)

    target = dataclasses.replace(topologies.open_target("cpu"), chip=Chip(bandwidth=1e12, rate=1e9))
    lower = lambda: jax.jit(products).lower(X)  # noqa: E731
    once, program = (
        compiled.compile_program(lower, target, images=1, arguments=0, repeats=repeats) for repeats in (1, 8)
    )
    flops = 8 * 2 * 64**3 * 64
    assert program.flops is not None and program.flops == pytest.approx(flops, rel=0.1)
    assert program.seconds is not None and program.seconds == pytest.approx(flops / 1e9, rel=0.1)
    assert program.moved is not None and once.moved is not None
    assert program.moved == pytest.approx(once.moved + 7 * (once.moved - 3 * X.nbytes))


def test_a_refusal_for_memory_is_a_result():
    """With the bytes that the compiler named."""

    def refuse():
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Ran out of memory. Used 20.50G of 15.75G hbm.\nLargest program allocations: …"
        )

    program = compiled.compile_program(refuse, topologies.open_target("cpu"), images=4, arguments=7, beside=GIB)
    assert program.refusal == "Ran out of memory. Used 20.50G of 15.75G hbm."
    assert program.needed == 21.5 * GIB
    assert not program.fits(Chip(memory=40 * GIB))


def test_other_errors_of_the_compiler_are_raised():
    """They are no matter of memory."""

    def fail():
        raise jax.errors.JaxRuntimeError("INTERNAL: no such instruction")

    with pytest.raises(jax.errors.JaxRuntimeError, match="no such instruction"):
        compiled.compile_program(fail, topologies.open_target("cpu"), images=4, arguments=7)


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("Used 20.50G of 15.75G hbm. Exceeded hbm capacity by 4.75G.", 20.5 * GIB),
        ("the total memory required for HLO temporaries (1.00T) exceeds available HBM (15.75G).", 1024 * GIB),
        ("Ran out of memory.", None),
    ],
)
def test_bytes_are_read_from_a_refusal(line, size):
    """The larger number is what is needed."""
    assert compiled.bytes_named(line) == size


@pytest.mark.parametrize(("needed", "fits"), [(9, True), (10, True), (11, False)])
def test_a_program_fits_into_memory(needed, fits):
    """Arguments, results, temporaries and code together; into unknown memory it fits if the compiler says nothing."""
    program = Program(images=1, arguments=needed - 4, results=1, temporaries=2, code=1)
    assert program.fits(Chip(memory=10)) == fits
    assert program.fits(Chip())


def test_arrays_that_are_split_take_a_share_of_a_device():
    """Keys, whose bytes are the implementation's matter, count nothing."""
    layout = sharding.create(devices=jax.devices()[:1])
    batch = compiled.placed({"x": jax.ShapeDtypeStruct((8, 3), jnp.bfloat16)}, layout.batch)
    key = compiled.placed(jax.eval_shape(lambda: jax.random.key(0)), layout.replicated)
    assert compiled.size_on_device((batch, key)) == 48


def test_a_run_takes_as_long_as_its_exchanges():
    """On devices whose connection is known."""
    program = Program(images=4, arguments=0, seconds=0.1, exchanged=2e9)
    cpu = topologies.open_target("cpu")
    connected = dataclasses.replace(cpu, chip=Chip(interconnect=1e10))
    assert compiled.with_exchanges(program, connected).seconds == 0.2
    assert compiled.with_exchanges(program, cpu) == program


@pytest.mark.parametrize(
    ("size", "text"), [(None, "-"), (0, "0"), (16, "16 B"), (2000, "2.0 KiB"), (2**22, "4.0 MiB"), (GIB, "1.00 GiB")]
)
def test_bytes_are_shown_with_a_fitting_unit(size, text):
    """Unknown ones as a dash."""
    assert compiled.gib(size) == text


def test_the_table_has_a_column_for_each_program():
    """What is not known is a dash."""
    step = Program(
        images=16,
        arguments=2 * GIB,
        temporaries=3 * GIB,
        flops=2.5e13,
        moved=1.2e11,
        kernels=1234,
        collectives={"all-reduce": 3, "all-gather": 1},
        exchanged=1.5e9,
        seconds=0.05,
    )
    refused = Program(images=8, arguments=2 * GIB, refusal="no memory")
    text = compiled.table({"training step": step, "evaluation": refused}, Chip(memory=16 * GIB))
    rows = {line[2:20].strip(): line[20:].split("  ") for line in text.splitlines()}
    cells = {name: [cell.strip() for cell in row if cell.strip()] for name, row in rows.items()}
    assert cells["a device"] == ["training step", "evaluation"]
    assert cells["arguments"] == ["2.00 GiB", "2.00 GiB"]
    assert cells["temporaries"] == ["3.00 GiB", "-"]
    assert cells["peak"] == ["5.00 GiB", "-"]
    assert cells["FLOPs"] == ["25 TFLOP", "-"]
    assert cells["bytes moved"] == ["120 GB", "-"]
    assert cells["kernels"] == ["1,234", "-"]
    assert cells["exchanges"] == ["1 all-gather, 3 all-reduce", "none"]
    assert cells["bytes exchanged"] == ["1.5 GB", "0"]
    assert cells["pace at most"] == ["320 images/s", "-"]
