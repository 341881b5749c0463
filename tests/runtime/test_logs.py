"""The log of a run."""

import subprocess
import sys

import pytest

_LOGGER = """
import sys, types
from absl import flags, logging
flags.FLAGS(["program", *sys.argv[2:]])
from fgnet_jax.runtime import logs
logs.setup_logging(active=sys.argv[1] == "1")
logs.setup_logging(active=sys.argv[1] == "1")
ours = compile("logging.info('our message'); logging.warning('our warning')", logs.__file__, "exec")
exec(ours, {"logging": logging})
logging.info("a library's"); logging.warning("a library's warning")
"""


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["1"], ["I our message", "W our warning", "W a library's warning"]),
        (["0"], ["W our warning", "W a library's warning"]),
        (["1", "--verbosity=0"], ["I our message", "W our warning", "I a library's", "W a library's warning"]),
    ],
    ids=["first process", "other process", "all messages"],
)
def test_the_log_is_short(arguments, lines):
    """Time, level and message; of libraries only warnings, unless all messages are asked for."""
    process = subprocess.run([sys.executable, "-c", _LOGGER, *arguments], capture_output=True, text=True, check=True)
    shown = process.stderr.splitlines()
    assert [line.split(" ", 1)[1] for line in shown] == lines
    assert all(len(line.split(" ", 1)[0]) == len("12:34:56") for line in shown)


_FAILING_SAVE = """
import sys, threading
from absl import flags, logging
flags.FLAGS(["program"])
from fgnet_jax.runtime import logs
logs.setup_logging()
try:
    raise OSError("No space left on device")
except OSError:
    logging.exception("saving failed: %s", "x" * 1000)
hook = lambda message: sys.excepthook(RuntimeError, RuntimeError(message), None)
for message in ("Event loop is closed", "a real one"):
    thread = threading.Thread(target=hook, args=(message,))
    thread.start()
    thread.join()
hook("Event loop is closed")
"""


def test_failed_saves_are_a_line_each():
    """Without a library's traceback, and without what TensorStore's threads go on to say; nothing else is lost."""
    process = subprocess.run([sys.executable, "-c", _FAILING_SAVE], capture_output=True, text=True, check=True)
    first, *rest = process.stderr.splitlines()
    assert " E saving failed: xxx" in first and len(first) < 250
    assert rest == ["RuntimeError: a real one", "RuntimeError: Event loop is closed"]


_UNRAISABLE = """
from absl import flags

from fgnet_jax.runtime import logs

flags.FLAGS(["test"])
logs.setup_logging()


class Raises:
    def __init__(self, message):
        self.message = message

    def __del__(self):
        raise RuntimeError(self.message)


for message in ("Event loop is closed", "a real one"):
    Raises(message)
"""


def test_failed_saves_are_quiet_where_nothing_can_be_raised():
    """Where TensorStore's threads report by the other hook; any other error is shown."""
    process = subprocess.run([sys.executable, "-c", _UNRAISABLE], capture_output=True, text=True, check=True)
    assert "Event loop is closed" not in process.stderr
    assert process.stderr.splitlines()[-1] == "RuntimeError: a real one"
