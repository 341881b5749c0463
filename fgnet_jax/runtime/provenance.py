"""Provenance of a result: versions, git commit, devices, host, time and command.

JAX is imported only where it is asked for its devices: workers use this package without it.
"""

import platform
import socket
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from fgnet_jax.runtime.version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
"""Packages whose versions a run's results may depend on."""

_SOURCE = Path(__file__).resolve().parent
_GIT_SECONDS = 20.0  # a checkout on a slow network drive is not worth waiting longer for


def provenance() -> dict[str, Any]:
    """Collect what makes a result reproducible, ready for JSON.

    Returns:
      `versions` (name to version, of Python, fgnet_jax and `PACKAGES`; None for what is not installed), `git`
      ({"commit", "dirty"} of the checkout that fgnet_jax is imported from, None outside one), `devices`
      ({"kind", "platform", "count"} over all processes), `processes`, `hostname`, `time` (UTC, ISO 8601), `argv`.
    """
    import jax

    device = jax.devices()[0]
    return {
        "versions": versions(),
        "git": git_state(_SOURCE),
        "devices": {"kind": device.device_kind, "platform": device.platform, "count": jax.device_count()},
        "processes": jax.process_count(),
        "hostname": socket.gethostname(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "argv": list(sys.argv),
    }


def git_state(directory: Path) -> dict[str, Any] | None:
    """Return the commit of the checkout that tracks `directory`, and whether a tracked file differs from it.

    None where git, a checkout or a commit is missing, and for an installed copy that merely lies inside another
    project's folder.
    """
    commit = _git(directory, "rev-parse", "HEAD")
    if not commit or not _git(directory, "ls-files"):
        return None
    changes = _git(directory, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": changes if changes is None else bool(changes)}


def versions() -> dict[str, str | None]:
    """Return the versions of Python, fgnet_jax and `PACKAGES`, by name; None for what is not installed."""
    own = {"python": platform.python_version(), "fgnet_jax": __version__}
    return own | {name: version(name) for name in PACKAGES}


def processor() -> str:
    """Return the model of this machine's processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def version(package: str) -> str | None:
    """Return the version of an installed package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(directory: Path, *command: str) -> str | None:
    """Return the standard output of a git command, or None where it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *command], capture_output=True, text=True, timeout=_GIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
