"""Conversions of untrusted files, each in a process of its own, with its end, message, time and memory.

`python -m tests.convert_weights.measured FOLDER` converts every file there, named `….generator`, `….encoder` or
`….fgnet` after the option that takes it, and prints a JSON list. Each runs in an empty working directory that is looked
at afterwards, with a bound on memory and processor time, and ends at once if it starts a program or connects anywhere.
"""

import contextlib
import dataclasses
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROLES = ("generator", "encoder", "fgnet")
MEMORY, SECONDS = 3 << 30, 60
"""Address space above that at the start, and processor time, at which a conversion is ended."""

_FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "webbrowser.open",
)
_RAN_CODE = 99


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of one conversion.

    Attributes:
      file: The file's name.
      status: The command's exit status; negative for a signal, and 99 if code was run.
      error: What it printed as errors.
      report: What it printed as results.
      left: Names in its working directory afterwards, without the output of a successful conversion.
      seconds: Processor time.
      mebibytes: Memory above that at the start, at most.
    """

    file: str
    status: int
    error: str
    report: str
    left: list[str]
    seconds: float
    mebibytes: float


def convert_all(folder: Path) -> list[Outcome]:
    """Convert every file of a folder in another process, which has nothing of this one."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.convert_weights.measured", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [Outcome(**values) for values in json.loads(done.stdout)]


def _main(folder: Path) -> list[Outcome]:
    from convert_weights import convert
    from fgnet_jax.models.config import TINY
    from tests.convert_weights import fileset

    with tempfile.TemporaryDirectory() as good:
        files = fileset.make(Path(good))
        convert.pretrained(files.generator, files.encoder, TINY)  # fills the caches
        convert.trained(files.model, files.encoder, TINY, "disfa")
        options = {"generator": files.generator, "encoder": files.encoder, "fgnet": files.model}
        return [_convert(path, options) for path in sorted(folder.iterdir())]


def _convert(path: Path, good: dict[str, Path]) -> Outcome:
    role = path.suffix[1:]
    assert role in ROLES, path
    options = {"encoder": good["encoder"], "config": "tiny", "output": "out", "overwrite": None}
    options |= {"fgnet": good["fgnet"], "corpus": "disfa"} if role == "fgnet" else {"generator": good["generator"]}
    options[role] = path
    arguments = [part for name, value in options.items() for part in (f"--{name}", value) if part is not None]
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryFile("w+") as result:
        child = os.fork()
        if child == 0:
            _child([*map(str, arguments)], work, result.fileno())
        _, ended, usage = os.wait4(child, 0)
        status, left = os.waitstatus_to_exitcode(ended), set(os.listdir(work))
        result.seek(0)
        values = json.loads(result.read() or '{"error": "", "report": "", "resident": 0}')
    return Outcome(
        file=path.name,
        status=status,
        error=values["error"],
        report=values["report"],
        left=sorted(left - {"out"} if status == 0 else left),
        seconds=round(usage.ru_utime + usage.ru_stime, 3),
        mebibytes=round((usage.ru_maxrss - values["resident"]) / 1024, 1),
    )


def _child(arguments: list[str], work: str, result: int) -> None:
    """Convert, write what was printed to the descriptor `result`, and exit."""
    from convert_weights.__main__ import main

    resident, mapped = _kibibytes("VmRSS"), _kibibytes("VmSize") * 1024
    os.chdir(work)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    sys.addaudithook(lambda event, _: os._exit(_RAN_CODE) if event in _FORBIDDEN else None)
    error, report, status = io.StringIO(), io.StringIO(), 1
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(report):
        try:
            status = main(arguments)
        except BaseException:
            traceback.print_exc()
            status = 70
    values = {"error": error.getvalue(), "report": report.getvalue(), "resident": resident}
    os.write(result, json.dumps(values)[: 64 << 20].encode())
    os._exit(status)


def _kibibytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


if __name__ == "__main__":
    print(json.dumps([dataclasses.asdict(outcome) for outcome in _main(Path(sys.argv[1]))]))
