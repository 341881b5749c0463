"""Networks in processes of their own: they take turns, each tells its peak of memory, and one that is killed for it
does not take the others with it.
"""

import contextlib
import dataclasses
import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import machine
from benchmarks.jobs import Figures, Job

Make = Callable[..., Mapping[str, Job]]
Name = tuple[str, str]
"""A network, and its policy of rematerialisation where it trains."""
Makes = Mapping[Name, tuple[Any, ...]]
"""What makes its jobs in its process, and with which arguments."""
Run = tuple[float, int | None]
"""Seconds, and the most bytes that the process held meanwhile."""


class DoesNotFitError(Exception):
    """A network takes more memory than there is."""


@dataclasses.dataclass(frozen=True)
class Network:
    """One in its own process.

    Attributes:
      figures: What is known of its jobs without running them, by name.
      run: Runs the job of a name once.
    """

    figures: Mapping[str, Figures]
    run: Callable[[str], Run]


def in_turns(makes: Makes, rounds: int) -> dict[Name, dict[str, tuple[Figures, list[Run]]]]:
    """Figures and runs of every network's every job, all networks alive and each running in its turn.

    The first round warms up and does not count. Networks that memory does not hold are said, and left out.

    Args:
      makes: By name.
      rounds: Runs that count.
    """
    with contextlib.ExitStack() as stack:
        networks: dict[Name, Network] = {}
        for name, make in makes.items():
            with _said(name):
                networks[name] = stack.enter_context(network(*make))
        found = {name: {job: (figures, []) for job, figures in of.figures.items()} for name, of in networks.items()}
        for number in range(rounds + 1):
            for name in [*found]:
                runs = None
                with _said(name):
                    runs = {job: networks[name].run(job) for job in found[name]}
                if runs is None:
                    del found[name]
                elif number:
                    for job, run in runs.items():
                        found[name][job][1].append(run)
    return found


@contextlib.contextmanager
def _said(name: Name) -> Iterator[None]:
    try:
        yield
    except DoesNotFitError as error:
        print(f"{', remat '.join(filter(None, name))} does not fit into memory: {error}", flush=True)


@contextlib.contextmanager
def network(make: Make, *arguments: Any) -> Iterator[Network]:
    """The jobs that `make(*arguments)` gives, in a fresh process that ends with the context.

    Raises:
      DoesNotFitError: Here or in `run`, if the process was killed or its card's memory ran out.
      RuntimeError: Here or in `run`, with the traceback of anything else that went wrong there.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
    process.start()
    theirs.close()

    def answer() -> Any:
        try:
            found = ours.recv()
        except EOFError:
            process.join()
            killed = process.exitcode == -signal.SIGKILL  # as Linux does it; a crash is a defect
            error = DoesNotFitError if killed else RuntimeError
            raise error(f"its process was ended (exit code {process.exitcode})") from None
        if isinstance(found, Exception):
            raise found
        return found

    def run(name: str) -> Run:
        ours.send(name)
        return answer()

    try:
        yield Network(answer(), run)
    finally:
        with contextlib.suppress(BrokenPipeError):  # it is gone already
            ours.send("")
        process.join(10)  # PyTorch's compiler has processes of its own to end
        process.kill()


def _serve(pipe: Connection, make: Make, arguments: tuple[Any, ...]) -> None:
    """The process: figures first, then a run for every name that comes."""
    machine.let_be_killed_first()
    try:
        jobs = make(*arguments)
        pipe.send({name: job.figures for name, job in jobs.items()})
        for name in iter(pipe.recv, ""):
            machine.forget_peak()
            begin = time.perf_counter()
            jobs[name].run()
            pipe.send((time.perf_counter() - begin, machine.peak()))
    except Exception as error:
        # What a card says when its memory runs out, by JAX and by PyTorch; anything else is a defect, shown whole.
        full = "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
        text = str(error).splitlines()[0] if full else traceback.format_exc()
        pipe.send(DoesNotFitError(text) if full else RuntimeError(text))
