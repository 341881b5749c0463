"""The log of a run: short lines, our own messages, and of libraries only their warnings."""

import logging as std_logging
import os
import sys
import threading
from pathlib import Path
from types import TracebackType

from absl import flags, logging

_CHECKOUT = Path(__file__).resolve().parents[2]
_EXPECTED = ("Using custom data configuration", "Variant folder ", "Waiting for previous save to complete")
"""Beginnings of libraries' warnings that tell users nothing."""

_LINE_LENGTH = 200  # of a library's message

_OUR_CODE = tuple(str(_CHECKOUT / name) + os.sep for name in ("fgnet_jax", "convert_weights", "benchmarks"))


def setup_logging(active: bool = True) -> None:
    """Shorten absl's log: time, level and message on standard error, and of libraries only their warnings.

    Of an error that a library logs, its first line is shown: what it means for a run is raised, too. If `--verbosity`
    is given, it decides instead what is shown, of libraries too. Call this after flags are parsed.

    Args:
      active: False for processes other than the first, which then show warnings only.
    """
    logging.use_absl_handler()
    handler = logging.get_absl_handler().python_handler
    handler.setFormatter(std_logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S"))
    handler.removeFilter(_is_shown)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _report
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _report_unraisable
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.INFO if active else logging.WARNING)
        handler.addFilter(_is_shown)


def _is_shown(record: std_logging.LogRecord) -> bool:
    if isinstance(record.msg, str) and record.msg.startswith(_EXPECTED):
        return False
    if os.path.abspath(record.pathname).startswith(_OUR_CODE):
        return True
    if record.levelno < std_logging.WARNING:
        return False
    record.exc_info = record.exc_text = record.stack_info = None
    record.msg, record.args = record.getMessage().split("\n")[0][:_LINE_LENGTH], None
    return True


def _report(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print an exception that nothing has caught, but for those of saves that have failed.

    When Orbax gives up a save, TensorStore's threads go on calling into the loop that Orbax has closed, and each of
    these calls comes here or to `_report_unraisable`.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main or not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
        sys.__excepthook__(kind, error, traceback)


def _report_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Print an exception that could not be raised, but for those of saves that have failed: see `_report`.

    Which of the two hooks is called depends on where in TensorStore the loop is called.
    """
    if not (isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(unraisable)
