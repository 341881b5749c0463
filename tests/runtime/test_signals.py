"""Signals that stop a run: recorded, raised, or left to others."""

import signal
import subprocess
import sys
import threading

import pytest

from fgnet_jax.runtime import signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted(number, capfd):
    """Nothing is raised, and the user is told."""
    former = signal.getsignal(number)
    with signals.StopSignal() as stop:
        assert stop.received is None
        signal.raise_signal(number)
        assert stop.received == number.name
    assert signal.getsignal(number) is former
    assert f"{number.name} received" in capfd.readouterr().err


def test_only_a_second_interrupt_interrupts():
    """A repeated SIGTERM does not; handlers are back even then."""
    former = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), signals.StopSignal() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.received == "SIGTERM"
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is former


def test_with_nothing_left_to_save_a_signal_raises():
    """Where the program is; or at once, where it came before."""
    with signals.StopSignal() as stop, pytest.raises(signals.Stopped, match="SIGTERM"):
        stop.raise_from_now_on()
        signal.raise_signal(signal.SIGTERM)
    with signals.StopSignal() as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(signals.Stopped, match="SIGTERM"):
            stop.raise_from_now_on()


def test_inactive_leaves_signals_to_others():
    """To JAX, on several hosts."""
    former = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with signals.StopSignal(active=False) as stop:
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == former
    assert stop.received is None


def test_signals_can_be_caught_later():
    """From `begin` on, which may be called again; before, they are left to others."""
    former = signal.getsignal(signal.SIGTERM)
    with signals.StopSignal(later=True) as stop:
        assert signal.getsignal(signal.SIGTERM) is former
        stop.begin()
        stop.begin()
        signal.raise_signal(signal.SIGTERM)
        assert stop.received == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is former


PROGRAMS = {
    "in Python": "while True: pass",
    "in a callback that loses exceptions": """
class Callback:
    def __del__(self):
        while True: pass
Callback()
while True: pass
""",
    "in C code": "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)",
}
START = """
from fgnet_jax.runtime import signals
with signals.EndAtOnce(lambda name: print("ended by", name, flush=True)):
    print("ready", flush=True)
    {}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("where", PROGRAMS)
def test_a_signal_at_the_start_is_never_lost(where, number):
    """Whatever the main thread is doing: the process reports the signal and ends, with its exit status."""
    code = START.format(PROGRAMS[where].replace("\n", "\n    "))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    output, errors = process.communicate()
    assert (process.returncode, output, errors) == (128 + number, f"ended by {number.name}\n", "")


def test_a_run_that_can_save_takes_over():
    """Within the block, and the former handlers are back behind it."""
    former = signal.getsignal(signal.SIGTERM)
    with signals.EndAtOnce(lambda name: pytest.fail(name)):
        with signals.StopSignal() as stop:
            signal.raise_signal(signal.SIGTERM)
        assert stop.received == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is former


def test_signals_are_for_the_main_thread():
    """Python allows no other; the error is not hidden."""
    errors = []

    def enter() -> None:
        try:
            signals.StopSignal().__enter__()
        except ValueError as error:
            errors.append(str(error))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert errors and "main thread" in errors[0]
