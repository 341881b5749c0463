"""The log of a run: short lines, our own messages, and of libraries only their warnings."""

import logging as std_logging
import os
from pathlib import Path

from absl import flags, logging

_CHECKOUT = Path(__file__).resolve().parents[2]
_EXPECTED = ("Using custom data configuration", "Variant folder ", "Waiting for previous save to complete")
"""Beginnings of libraries' warnings that tell users nothing."""

_OUR_CODE = tuple(str(_CHECKOUT / name) + os.sep for name in ("fgnet_jax", "convert_weights", "benchmarks"))


def setup_logging(active: bool = True) -> None:
    """Shorten absl's log: time, level and message on standard error, and of libraries only their warnings.

    If `--verbosity` is given, it decides instead what is shown, of libraries too. Call this after flags are parsed.

    Args:
      active: False for processes other than the first, which then show warnings only.
    """
    logging.use_absl_handler()
    handler = logging.get_absl_handler().python_handler
    handler.setFormatter(std_logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S"))
    handler.removeFilter(_is_shown)
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.INFO if active else logging.WARNING)
        handler.addFilter(_is_shown)


def _is_shown(record: std_logging.LogRecord) -> bool:
    if isinstance(record.msg, str) and record.msg.startswith(_EXPECTED):
        return False
    return record.levelno >= std_logging.WARNING or os.path.abspath(record.pathname).startswith(_OUR_CODE)
