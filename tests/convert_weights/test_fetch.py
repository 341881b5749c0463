"""Fetching: from published links, answered by a local server, to a weights directory; and all of its failures."""

import io
import sys

import pytest
from requests.adapters import HTTPAdapter

from convert_weights import download, published
from convert_weights.__main__ import main
from fgnet_jax.models import weights
from fgnet_jax.models.config import TINY
from fgnet_jax.runtime.files import sha256
from tests.convert_weights.drive import Drive, serve

pytest.importorskip("gdown")

NVIDIA = "/stylegan2-ada-pytorch/pretrained/ffhq.pkl"


def drive_id(file: published.PublishedFile) -> str:
    """Return a file's number at Google Drive."""
    return file.url.partition("id=")[2]


@pytest.fixture
def drive(files, monkeypatch):
    """Answer the published links with the tiny file set."""
    served = Drive({drive_id(file): files.model.read_bytes() for file in published.MODELS.values()})
    served.files |= {drive_id(published.ENCODER): files.encoder.read_bytes(), NVIDIA: files.generator.read_bytes()}
    monkeypatch.setattr(download, "RETRIES", 0)
    with serve(served) as send:
        monkeypatch.setattr(HTTPAdapter, "send", send)
        yield served


@pytest.fixture
def fetch(tmp_path, capsys):
    """Return a function that runs the command and returns exit status, standard output and standard error."""

    def run(name: str = "disfa", *options: str) -> tuple[int, str, str]:
        output = str(tmp_path / "weights" / name)
        status = main(["fetch", name, "--output", output, "--config", "tiny", *options])
        return (status, *capsys.readouterr())

    return run


@pytest.mark.parametrize("corpus", ["bp4d", "disfa"])
def test_fgnet_as_published_in_one_step(fetch, drive, files, tmp_path, corpus):
    """The download passes Drive's confirm page; the weights name their corpus, and the files with their hashes."""
    status, printed, errors = fetch(corpus, "--accept-licences")
    assert status == 0, errors
    config, _, meta = weights.load(tmp_path / "weights" / corpus)
    assert config == TINY and meta.corpus == corpus
    assert meta.sources == (
        {"file": f"fgnet_{corpus}_model.pth", "sha256": sha256(files.model)},
        {"file": "psp_ffhq_encode.pt", "sha256": sha256(files.encoder)},
    )
    assert sha256(files.model) in printed and f"wrote {tmp_path}" in printed
    assert ("drive.usercontent.google.com", "/download", None) in drive.requests


def test_starting_point_of_training(fetch, drive, tmp_path):
    """NVIDIA's file comes from NVIDIA's server, without a confirm page."""
    status, printed, errors = fetch("pretrained", "--accept-licences", "--seed", "3")
    assert status == 0, errors
    assert "freshly initialised (seed 3)" in printed
    assert weights.load(tmp_path / "weights/pretrained")[2].sources[0]["file"] == "ffhq.pkl"
    assert drive.requests[0] == ("nvlabs-fi-cdn.nvidia.com", NVIDIA, None)


def test_licences_are_shown_for_acceptance_once(fetch, drive, tmp_path, monkeypatch):
    """A no ends the command; a yes holds for later runs too, but not for files with other terms."""
    replies = iter(["n", "", "yes", "y"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: next(replies))
    for _ in range(2):
        status, printed, errors = fetch("disfa")
        assert status == 2 and "CC BY-NC-SA 4.0" in printed and "nothing was downloaded" in errors
    assert drive.requests == [] and not (tmp_path / "weights").exists()
    assert fetch("disfa")[0] == 0
    status, printed, _ = fetch("disfa", "--overwrite")
    assert status == 0 and "terms" not in printed
    status, printed, _ = fetch("pretrained")
    assert status == 0 and "NVIDIA Source Code License-NC" in printed
    assert (tmp_path / "weights/published/LICENCES.txt").read_text().count("terms:") == 3


def test_no_terminal(fetch, drive, monkeypatch):
    """Without a terminal and without the flag nothing is downloaded, and the flag is named."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    status, _, errors = fetch()
    assert status == 2 and "--accept-licences" in errors and drive.requests == []


def test_an_interrupted_download_is_resumed(fetch, drive, files, tmp_path):
    """The partial file stays, the message tells it, and only the rest is requested."""
    drive.cut = 700_000
    status, _, errors = fetch("disfa", "--accept-licences")
    assert status == 1 and "cut off; the same command resumes it" in errors
    (part,) = (tmp_path / "weights/published").glob("*.part")
    size = part.stat().st_size
    assert 0 < size <= 700_000
    drive.cut, drive.requests = None, []
    assert fetch()[0] == 0
    assert ("drive.usercontent.google.com", "/download", f"bytes={size}-") in drive.requests
    assert sha256(tmp_path / "weights/published/fgnet_disfa_model.pth") == sha256(files.model)
    assert not part.exists()


def test_existing_files_are_not_downloaded_again(fetch, drive, tmp_path):
    """Files that exist, also those downloaded by hand, need no network."""
    assert fetch("disfa", "--accept-licences")[0] == 0
    drive.requests.clear()
    assert fetch("disfa", "--overwrite")[0] == 0
    assert drive.requests == []
    assert fetch("bp4d", "--accept-licences")[0] == 0
    assert [path for _, path, _ in drive.requests] == ["/uc", "/download"], "the encoder exists already"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("quota", "quota of downloads is used up"),
        ("gone", "moved or deleted, or is not public"),
        ("closed", "no connection to drive.google.com"),
    ],
)
def test_failures_are_reported_with_instructions_by_hand(fetch, drive, tmp_path, failure, reason):
    """The message has the link, the file's place and the next step; nothing is left that could be taken for weights."""
    drive.failure = failure
    status, _, errors = fetch("disfa", "--accept-licences")
    assert status == 1 and reason in errors and "Traceback" not in errors
    model = published.MODELS["disfa"]
    target = tmp_path / "weights/published" / model.name
    assert f"open {model.link} in a browser, save the file as {target}, and run the same command again" in errors
    assert not target.exists() and not (tmp_path / "weights/disfa").exists()


@pytest.mark.parametrize(("failure", "reason"), [("gone", "moved or deleted (HTTP 404)"), ("page", "is a web page")])
def test_a_plain_server_that_has_no_file(fetch, drive, tmp_path, failure, reason):
    """NVIDIA's server returns 404; a proxy's page instead of the file is recognised and removed."""
    drive.failure = failure
    status, _, errors = fetch("pretrained", "--accept-licences")
    assert status == 1 and reason in errors and "By hand: open https://nvlabs-fi-cdn" in errors
    assert not (tmp_path / "weights/published/ffhq.pkl").exists()


def test_a_bad_file_downloaded_by_hand(fetch, drive, tmp_path):
    """It is named, and left for the user to delete."""
    target = tmp_path / "weights/published/fgnet_disfa_model.pth"
    target.parent.mkdir(parents=True)
    target.write_bytes(published.MODELS["disfa"].link.encode())
    status, _, errors = fetch("disfa", "--accept-licences")
    assert status == 1 and f"delete {target}" in errors and target.exists()


def test_without_gdown(fetch, drive, monkeypatch):
    """The message names the extra, and the download by hand."""
    monkeypatch.setitem(sys.modules, "gdown", None)
    status, _, errors = fetch("disfa", "--accept-licences")
    assert status == 1 and "pip install 'fgnet_jax[fetch]'" in errors and "By hand" in errors


def test_an_interrupted_download(fetch, drive, monkeypatch):
    """Ctrl-C ends with status 130 and a message."""

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(HTTPAdapter, "send", interrupt)
    status, _, errors = fetch("disfa", "--accept-licences")
    assert status == 130 and "the same command resumes the download" in errors


def test_an_existing_output(fetch, drive, tmp_path):
    """An existing output is refused before any question or download."""
    (tmp_path / "weights/disfa").mkdir(parents=True)
    status, printed, errors = fetch()
    assert status == 1 and "exists" in errors and printed == "" and drive.requests == []


def test_usage(capsys):
    """Unknown weights are a usage error; the help has every link and every term."""
    for arguments, status in ((["fetch", "ck", "--output", "o"], 2), (["fetch", "--help"], 0)):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == status
    printed = capsys.readouterr().out
    for file in (*published.MODELS.values(), published.ENCODER, published.GENERATOR):
        assert file.link in printed and file.terms in printed
