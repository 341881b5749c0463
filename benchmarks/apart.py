"""Networks in separate processes: they take turns, report their peak memory, and one that runs out of memory does not
end the others.
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

from benchmarks import machine, processes
from benchmarks.tasks import ProgramCost, Task

Factory = Callable[..., Mapping[str, Task]]
"""A function that creates a network's tasks, by name."""
Name = tuple[str, str]
"""A network, and its policy of rematerialisation if it trains."""
Factories = Mapping[Name, tuple[Any, ...]]
"""A factory and its arguments for each network; they are called in the network's process."""
Measurement = tuple[float, int | None]
"""Seconds of a run, and the process's peak memory in bytes during it."""


class DoesNotFitError(Exception):
    """A network needs more memory than there is."""


@dataclasses.dataclass(frozen=True)
class NetworkProcess:
    """A network in its own process.

    Attributes:
      costs: Costs of its tasks that are known without running them, by name.
      run: Runs the task of a name once.
    """

    costs: Mapping[str, ProgramCost]
    run: Callable[[str], Measurement]


def in_turns(factories: Factories, rounds: int) -> dict[Name, dict[str, tuple[ProgramCost, list[Measurement]]]]:
    """Measure every task of every network: all networks are alive, and each runs in its turn.

    The first round warms up and does not count. Networks that do not fit into memory are reported, and left out.

    Args:
      factories: By the network's name.
      rounds: Runs that count.
    """
    with contextlib.ExitStack() as stack:
        networks: dict[Name, NetworkProcess] = {}
        for name, factory in factories.items():
            with _reporting_memory(name):
                networks[name] = stack.enter_context(network(*factory))
        results = {name: {task: (cost, []) for task, cost in net.costs.items()} for name, net in networks.items()}
        for number in range(rounds + 1):
            for name in [*results]:
                runs = None
                with _reporting_memory(name):
                    runs = {task: networks[name].run(task) for task in results[name]}
                if runs is None:
                    del results[name]
                elif number:
                    for task, run in runs.items():
                        results[name][task][1].append(run)
    return results


@contextlib.contextmanager
def _reporting_memory(name: Name) -> Iterator[None]:
    """Print that a network does not fit into memory, instead of raising it."""
    try:
        yield
    except DoesNotFitError as error:
        print(f"{', remat '.join(filter(None, name))} does not fit into memory: {error}", flush=True)


@contextlib.contextmanager
def network(factory: Factory, *arguments: Any) -> Iterator[NetworkProcess]:
    """Start a process that creates the tasks of `factory(*arguments)`, and end it with the context.

    Raises:
      DoesNotFitError: here or in `run`, if the process was killed or its GPU is out of memory.
      RuntimeError: here or in `run`, with the traceback of any other error in the process.
    """
    context = multiprocessing.get_context("spawn")
    parent_end, process_end = context.Pipe()
    process = context.Process(target=_serve, args=(process_end, factory, arguments), daemon=True)
    process.start()
    process_end.close()

    def receive() -> Any:
        try:
            message = parent_end.recv()
        except (EOFError, ConnectionResetError):  # the latter if it had not read all that was sent to it
            process.join()
            killed = process.exitcode == -signal.SIGKILL  # as Linux does when memory runs out; a crash is a defect
            error = DoesNotFitError if killed else RuntimeError
            raise error(f"its process was ended (exit code {process.exitcode})") from None
        if isinstance(message, Exception):
            raise message
        return message

    def run(name: str) -> Measurement:
        with contextlib.suppress(BrokenPipeError):  # it was ended while it was idle; `receive` says so
            parent_end.send(name)
        return receive()

    try:
        yield NetworkProcess(receive(), run)
    finally:
        with contextlib.suppress(BrokenPipeError):  # it has already ended
            parent_end.send("")
        process.join(10)  # PyTorch's compiler ends its own processes meanwhile
        process.kill()


def _serve(pipe: Connection, factory: Factory, arguments: tuple[Any, ...]) -> None:
    """Send the tasks' costs, and then a measurement for every name received: the process's main function."""
    processes.let_be_killed_first()
    try:
        tasks = factory(*arguments)
        pipe.send({name: task.cost for name, task in tasks.items()})
        for name in iter(pipe.recv, ""):
            machine.forget_peak()
            begin = time.perf_counter()
            tasks[name].run()
            pipe.send((time.perf_counter() - begin, machine.peak()))
    except Exception as error:
        # Messages of JAX and PyTorch about a GPU out of memory; anything else is a defect, with its whole traceback.
        full = "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
        text = str(error).splitlines()[0] if full else traceback.format_exc()
        pipe.send(DoesNotFitError(text) if full else RuntimeError(text))
