"""The page's command: what it serves, to whom, and what it refuses."""

import socket
from urllib.parse import urlsplit

import pytest

from fgnet_jax.app import __main__ as app


def test_only_this_machine_is_served(url):
    """Serve loopback by default: other addresses of this machine accept no connection."""
    port = urlsplit(url).port
    with socket.socket() as probe:
        probe.settimeout(2)
        with pytest.raises(OSError):
            probe.connect((_own_address(), port))


def _own_address() -> str:
    """Return an address of this machine other than loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            return probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no other address")


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["--weights", "absent"], "no such weights directory"), (["--thresholds", "absent.json"], "absent.json")],
)
def test_missing_files_are_reported(directory, capsys, options, reason):
    """Exit with status 2 before anything is served."""
    weights = () if "--weights" in options else ("--weights", str(directory))
    assert app.main([*weights, "--port", "0", "--no-browser", *options]) == 2
    assert reason in capsys.readouterr().err


def test_a_port_in_use_is_found_before_anything_is_loaded(capsys):
    """Name the address in the message; that there are no weights would be found later."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.main(["--weights", "absent", "--port", str(port), "--no-browser"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"cannot serve on 127.0.0.1:{port}: Address already in use" in last and "--port" in last


def test_an_unknown_address_is_found_before_anything_is_loaded(capsys):
    """Say by which flag another is chosen."""
    assert app.main(["--weights", "absent", "--host", "no-such-host.invalid", "--no-browser"]) == 2
    assert "no-such-host.invalid:7860: there is no such address" in capsys.readouterr().err.splitlines()[-1]


def test_missing_gradio_is_found_before_anything_is_loaded(capsys, monkeypatch):
    """Say how it is installed."""
    monkeypatch.setattr(app, "find_spec", lambda name: None)
    assert app.main(["--weights", "absent", "--no-browser"]) == 2
    assert "pip install 'fgnet_jax[app]'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--port", "65536"], "a port, from 0 to 65535"),
        (["--port", "-1"], "a port, from 0 to 65535"),
        (["--max_upload", "0"], "gigabytes, above 0"),
        (["--max_upload", "4GB"], "gigabytes, above 0"),
    ],
)
def test_wrong_values_are_refused(capsys, options, reason):
    """Say what is expected."""
    with pytest.raises(SystemExit) as ended:
        app.main(["--weights", "absent", *options])
    assert ended.value.code == 2 and reason in capsys.readouterr().err
