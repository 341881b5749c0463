"""A trace of some steps of a run, written by JAX' profiler, for Perfetto or XProf."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import jax

from fgnet_jax.train.defaults import ConfigError

FOLDER = "profile"
"""Folder of a workdir with its traces."""


def parse(text: str) -> tuple[int, int]:
    """Parse `--profile FIRST:LAST` to the first and the last step that are traced, counted from 1.

    Raises:
      ConfigError: It is something else.
    """
    first, colon, last = text.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise ConfigError(f"--profile {text}: expected the first and the last step of a trace, such as 10:15")
    return int(first), int(last)


class Profiler:
    """Traces some steps. A context manager, whose end ends a trace that is not complete."""

    def __init__(self, workdir: Path, steps: tuple[int, int] | None, *, say: Callable[[str], None], active: bool):
        """Start nothing yet.

        Args:
          workdir: The run's folder.
          steps: The first and the last step to trace; None for none.
          say: Prints a line.
          active: False traces nothing: for processes other than the first.
        """
        self._folder, self._steps, self._say = workdir / FOLDER, steps if active else None, say
        self._is_tracing, self._traced = False, 0

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        if self._is_tracing:
            self._stop()
        elif self._steps and not self._traced:
            self._say("--profile {}:{}: none of these steps was left to run: nothing was traced".format(*self._steps))

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Mark a step in the trace, which begins with the first of the steps that are to be traced."""
        if not self._steps or not self._steps[0] <= number <= self._steps[1]:
            yield
            return
        if not self._is_tracing:
            jax.profiler.start_trace(str(self._folder), create_perfetto_trace=True)
            self._is_tracing = True
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield
        self._traced += 1

    def end(self, number: int, results: Any) -> None:  # noqa: ANN401 - a pytree of arrays
        """End the trace after its last step, once the devices have computed the step's results."""
        if self._is_tracing and self._steps and number == self._steps[1]:
            jax.block_until_ready(results)
            self._stop()

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self._is_tracing = False
        newest = max(self._folder.rglob("perfetto_trace.json.gz"), key=lambda path: path.stat().st_mtime)
        steps = "1 step" if self._traced == 1 else f"{self._traced} steps"
        self._say(
            f"Trace of {steps}: drop {newest} onto https://ui.perfetto.dev, or pip install xprof and run\n"
            f"  xprof --logdir {self._folder}"
        )
