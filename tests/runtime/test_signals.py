"""Signals that stop a run: recorded, raised, or left to others."""

import signal
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
