"""Compiled programs, kept from one start of a command to the next in the user's cache folder.

JAX keeps them (its persistent compilation cache), each by its program, compiler options, versions and devices. Here is
what it leaves open. The folder's name has a digest of this machine's processor, the versions and XLA's flags: home
folders are shared by machines whose processors lack each other's instructions. Every file has its SHA-256 beside it,
and is removed if its content has another: JAX would run a damaged program. And the folder is the user's alone, as it
holds code.
"""

import argparse
import atexit
import hashlib
import json
import os
import platform
import stat
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from fgnet_jax.runtime import command_line, files

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
"""Names another folder, which is JAX' own matter then."""

MAX_BYTES = 2 * 2**30
"""Size of all compiled programs, from which on the oldest are removed at the next start."""

_PROCESSOR = ("vendor_id", "cpu family", "model", "model name", "flags", "CPU implementer", "CPU part", "Features")
_PROGRAM, _SUM = "-cache", ".sha256"  # ends of JAX' files, and of those with their sums
_used: list[Path] = []  # the folder that this process uses


def add_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--no_cache`, whose help names the folder."""
    parser.add_argument("--no_cache", action="store_true", help=help_text().replace("%", "%%"))


def help_text() -> str:
    """Return the help of `--no_cache`."""
    where = f"{root()}, up to {MAX_BYTES // 2**30} GB"
    return f"compile anew; otherwise, compiled programs are kept in {where}, or in the folder of {VARIABLE}"


def root() -> Path:
    """Return the folder of all compiled programs, of all machines: in XDG_CACHE_HOME, or in ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~")) / ".cache"
    return folder / "fgnet_jax" / "compiled"


def enable(command: str, *, is_enabled: bool = True) -> None:
    """Keep what JAX compiles from now on; one line on standard error says so where that is not possible.

    Args:
      command: The command's name, for that line.
      is_enabled: False for no cache, wherever it may be.
    """
    import jax

    if not is_enabled:
        jax.config.update("jax_enable_compilation_cache", False)
    elif not jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue] - defined by JAX
        try:
            folder = _prepared(root() / _key())
        except OSError as error:
            reason = f"{error.filename or root()}: {error.strerror or error}"
            command_line.status(command, f"compiled programs cannot be kept: {reason} (--no_cache does without)")
            return
        jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")  # files without sums
        _used.append(folder)
        atexit.register(seal)


def seal() -> None:
    """Write the sums of programs that were compiled since; without them, they are compiled again at the next start."""
    for folder in _used:
        for program in folder.glob(f"*{_PROGRAM}"):
            try:
                if not _sum_of(program).exists():
                    files.write_text(_sum_of(program), files.sha256(program))
            except OSError:  # removed by another process, or the disk is full: it is compiled again
                continue


def _key() -> str:
    """Return a digest of what must be the same where a program was compiled and where it runs."""
    versions = {name: metadata.version(name) for name in ("jax", "jaxlib")}
    known = [platform.machine(), _processor(), versions, os.environ.get("XLA_FLAGS", "")]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def _processor(path: str = "/proc/cpuinfo") -> list[str]:
    """Return what Linux says of this machine's kinds of processors; elsewhere, their name alone."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [platform.processor()]
    return sorted({line for line in text.splitlines() if line.partition(":")[0].strip() in _PROCESSOR})


def _prepared(folder: Path) -> Path:
    """Create the folder, for the user alone, and remove the programs from it that cannot be trusted.

    Raises:
      OSError: It is not writable, or others may write to it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (folder.parent, folder):
        found = path.stat()
        if found.st_uid != os.getuid():
            raise PermissionError(0, "belongs to another user", os.fspath(path))
        if stat.S_IMODE(found.st_mode) != 0o700:
            path.chmod(0o700)
    files.check_writable(folder)
    programs = list(folder.glob(f"*{_PROGRAM}"))
    _remove(program for program in programs if not _is_intact(program))
    _remove(_surplus(folder.parent))
    return folder


def _is_intact(program: Path) -> bool:
    """Return whether a program is as it was when its sum was written."""
    try:
        return _sum_of(program).read_text(encoding="ascii") == files.sha256(program)
    except (OSError, UnicodeDecodeError):
        return False


def _surplus(folder: Path) -> list[Path]:
    """Return the oldest programs below a folder, without which they are within `MAX_BYTES`."""
    found = []
    for program in folder.glob(f"*/*{_PROGRAM}"):
        try:
            state = program.stat()
        except FileNotFoundError:  # another process has removed it
            continue
        found.append((state.st_mtime, state.st_size, program))
    total, surplus = sum(size for _, size, _ in found), []
    for _, size, program in sorted(found):
        if total <= MAX_BYTES:
            break
        surplus.append(program)
        total -= size
    return surplus


def _remove(programs: Iterable[Path]) -> None:
    for program in programs:
        _sum_of(program).unlink(missing_ok=True)
        program.unlink(missing_ok=True)


def _sum_of(program: Path) -> Path:
    return program.with_name(program.name + _SUM)
