"""Compiled programs in the user's cache folder: private, of this machine alone, and never damaged ones."""

import os
import stat
import subprocess
import sys

import pytest

from fgnet_jax.runtime import compilation_cache

PROGRAM = """
import sys
from fgnet_jax.runtime import compilation_cache
compilation_cache.enable("predict", is_enabled=sys.argv[1:] != ["--no_cache"])
import jax, jax.numpy as jnp
from jax import monitoring
events = []
monitoring.register_event_listener(lambda name, **_: events.append(name))
print(jax.jit(lambda x: jnp.tanh(x @ x.T).sum())(jnp.arange(12.0).reshape(3, 4) / 10))
print("found" if "/jax/compilation_cache/cache_hits" in events else "compiled")
"""


def start(home, *words, **environment):
    """Run a small program in a process of its own, and return its value, whether it was compiled, and the messages."""
    removed = (compilation_cache.VARIABLE, "XLA_FLAGS")
    variables = {name: value for name, value in os.environ.items() if name not in removed}
    variables |= {"XDG_CACHE_HOME": str(home), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"} | environment
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    value, origin = done.stdout.split()
    return value, origin, done.stderr


def programs(home):
    """Return the files of compiled programs."""
    return sorted(home.glob("fgnet_jax/compiled/*/*-cache"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache folder with the program, and its value."""
    home = tmp_path_factory.mktemp("filled")
    value, origin, errors = start(home)
    assert origin == "compiled" and errors == ""
    return home, value


@pytest.fixture
def copy(filled, tmp_path):
    """A copy of it."""
    subprocess.run(["cp", "-a", filled[0] / "fgnet_jax", tmp_path], check=True)
    return tmp_path


def test_a_program_is_compiled_once(filled):
    """In folders that nobody else may read."""
    home, value = filled
    assert start(home) == (value, "found", "")
    for folder in (home / "fgnet_jax" / "compiled", *home.glob("fgnet_jax/compiled/*")):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["a bit", "cut", "empty", "no sum"])
def test_damaged_programs_are_removed(copy, damage, monkeypatch):
    """Alone, before JAX sees them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(copy))
    victim, *others = programs(copy)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "no sum":  # of a process that was killed while it wrote it
        victim.with_name(f"{victim.name}.sha256").unlink()
    else:
        victim.write_bytes({"a bit": content, "cut": content[: len(content) // 3], "empty": b""}[damage])
    compilation_cache._prepared(victim.parent)
    assert programs(copy) == others


def test_a_damaged_program_is_compiled_again(filled, copy):
    """The same value without a word, and whole files for the next start."""
    for program in programs(copy):
        content = bytearray(program.read_bytes())
        content[len(content) // 2] ^= 1
        program.write_bytes(content)
    assert start(copy) == (filled[1], "compiled", "")
    assert start(copy) == (filled[1], "found", "")


def test_it_can_be_left_out(filled, copy):
    """Neither read nor written to."""
    before = programs(copy)
    assert start(copy, "--no_cache") == (filled[1], "compiled", "") and programs(copy) == before


def test_jax_own_variable_is_respected(filled, tmp_path):
    """Its folder is used instead."""
    folder = tmp_path / "own"
    start(tmp_path, **{compilation_cache.VARIABLE: str(folder)})
    assert list(folder.glob("*-cache")) and not (tmp_path / "fgnet_jax").exists()


def test_other_flags_have_another_folder(copy):
    """As other processors, whose instructions this one may lack, and other versions of JAX have."""
    assert start(copy, XLA_FLAGS="--xla_cpu_enable_fast_math=false")[1] == "compiled"
    assert len(list((copy / "fgnet_jax" / "compiled").iterdir())) == 2


def test_another_processor_has_another_folder(tmp_path, monkeypatch):
    """By what Linux says of its instructions; the clock's rate, which changes, does not count."""
    text = "processor : 0\nmodel name : A\nflags : sse avx2\ncpu MHz : 2000\n\nprocessor : 1\nflags : sse avx2\n"
    found = []
    for change in (("2000", "2100"), ("avx2", "avx512f")):
        (tmp_path / "cpuinfo").write_text(text.replace(*change))
        found.append(compilation_cache._processor(str(tmp_path / "cpuinfo")))
    assert found == [["flags : sse avx2", "model name : A"], ["flags : sse avx512f", "model name : A"]]
    keys = set()
    for processor in found:
        monkeypatch.setattr(compilation_cache, "_processor", lambda processor=processor: processor)
        keys.add(compilation_cache._key())
    assert len(keys) == 2


def test_a_folder_that_cannot_be_written_is_one_line(filled, tmp_path):
    """The command goes on without."""
    (tmp_path / "fgnet_jax").write_text("a file")
    value, origin, errors = start(tmp_path)
    assert (value, origin) == (filled[1], "compiled")
    assert errors.startswith("fgnet_jax.predict: compiled programs cannot be kept: ") and errors.count("\n") == 1


def test_the_oldest_programs_make_room(tmp_path, monkeypatch):
    """In the folders of other machines and versions too."""
    monkeypatch.setattr(compilation_cache, "MAX_BYTES", 25)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for age, (folder, name) in enumerate((("new", "a"), ("new", "b"), ("old", "c")), start=1):
        path = compilation_cache.root() / folder / f"{name}-cache"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0123456789")
        os.utime(path, (1000 - age, 1000 - age))
    compilation_cache._prepared(compilation_cache.root() / "another")
    assert [path.name for path in programs(tmp_path)] == ["a-cache", "b-cache"]
