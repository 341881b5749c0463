"""Fetching: published links, with a server in their place, to a weights directory; and every way that it goes wrong."""

import io
import sys

import pytest
from requests.adapters import HTTPAdapter

from convert_weights import download, published
from convert_weights.__main__ import main
from convert_weights.files import sha256
from fgnet_jax.models import weights
from fgnet_jax.models.config import TINY
from tests.convert_weights.drive import Drive, serve

pytest.importorskip("gdown")

NVIDIA = "/stylegan2-ada-pytorch/pretrained/ffhq.pkl"


def drive_id(file: published.PublishedFile) -> str:
    """A file's number at Google Drive."""
    return file.url.partition("id=")[2]


@pytest.fixture
def drive(files, monkeypatch):
    """The published links, answered here with the tiny file set."""
    served = Drive({drive_id(file): files.model.read_bytes() for file in published.MODELS.values()})
    served.files |= {drive_id(published.ENCODER): files.encoder.read_bytes(), NVIDIA: files.generator.read_bytes()}
    monkeypatch.setattr(download, "RETRIES", 0)
    with serve(served) as send:
        monkeypatch.setattr(HTTPAdapter, "send", send)
        yield served


@pytest.fixture
def fetch(tmp_path, capsys):
    """Runs the command with an output; returns exit status, standard output and standard error."""

    def run(what: str = "disfa", *options: str) -> tuple[int, str, str]:
        output = str(tmp_path / "weights" / what)
        status = main(["fetch", what, "--output", output, "--config", "tiny", *options])
        return (status, *capsys.readouterr())

    return run


@pytest.mark.parametrize("corpus", ["bp4d", "disfa"])
def test_fgnet_as_published_in_one_step(fetch, drive, files, tmp_path, corpus):
    """Through Drive's confirm page to weights that know their AUs, and the files with their hashes."""
    status, printed, said = fetch(corpus, "--accept-licences")
    assert status == 0, said
    config, _, meta = weights.load(tmp_path / "weights" / corpus)
    assert config == TINY and meta.corpus == corpus
    assert meta.sources == (
        {"file": f"fgnet_{corpus}_model.pth", "sha256": sha256(files.model)},
        {"file": "psp_ffhq_encode.pt", "sha256": sha256(files.encoder)},
    )
    assert sha256(files.model) in printed and f"wrote {tmp_path}" in printed
    assert ("drive.usercontent.google.com", "/download", None) in drive.requests


def test_what_training_starts_from(fetch, drive, tmp_path):
    """NVIDIA's file comes from NVIDIA's server, without a confirm page."""
    status, printed, said = fetch("pretrained", "--accept-licences", "--seed", "3")
    assert status == 0, said
    assert "freshly initialised (seed 3)" in printed
    assert weights.load(tmp_path / "weights/pretrained")[2].sources[0]["file"] == "ffhq.pkl"
    assert drive.requests[0] == ("nvlabs-fi-cdn.nvidia.com", NVIDIA, None)


def test_licences_are_shown_and_asked_for_once(fetch, drive, tmp_path, monkeypatch):
    """A no ends it; a yes holds for later runs too, but not for files with other terms."""
    answers = iter(["n", "", "yes", "y"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: next(answers))
    for _ in range(2):
        status, printed, said = fetch("disfa")
        assert status == 2 and "CC BY-NC-SA 4.0" in printed and "nothing was downloaded" in said
    assert drive.requests == [] and not (tmp_path / "weights").exists()
    assert fetch("disfa")[0] == 0
    status, printed, _ = fetch("disfa", "--overwrite")
    assert status == 0 and "terms" not in printed
    status, printed, _ = fetch("pretrained")
    assert status == 0 and "NVIDIA Source Code License-NC" in printed
    assert (tmp_path / "weights/published/LICENCES.txt").read_text().count("terms:") == 3


def test_nobody_to_ask(fetch, drive, monkeypatch):
    """Without a terminal and without the flag nothing is downloaded, and the flag is named."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    status, _, said = fetch()
    assert status == 2 and "--accept-licences" in said and drive.requests == []


def test_a_download_goes_on_where_it_was_cut_off(fetch, drive, files, tmp_path):
    """The part that came is kept, said so, and only the rest is asked for."""
    drive.cut = 700_000
    status, _, said = fetch("disfa", "--accept-licences")
    assert status == 1 and "cut off; the same command goes on from there" in said
    (part,) = (tmp_path / "weights/published").glob("*.part")
    kept = part.stat().st_size
    assert 0 < kept <= 700_000
    drive.cut, drive.requests = None, []
    assert fetch()[0] == 0
    assert ("drive.usercontent.google.com", "/download", f"bytes={kept}-") in drive.requests
    assert sha256(tmp_path / "weights/published/fgnet_disfa_model.pth") == sha256(files.model)
    assert not part.exists()


def test_what_was_downloaded_is_not_downloaded_again(fetch, drive, tmp_path):
    """Nor what was put there by hand: then it works without any network."""
    assert fetch("disfa", "--accept-licences")[0] == 0
    drive.requests.clear()
    assert fetch("disfa", "--overwrite")[0] == 0
    assert drive.requests == []
    assert fetch("bp4d", "--accept-licences")[0] == 0
    assert [path for _, path, _ in drive.requests] == ["/uc", "/download"], "the encoder is there already"


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("quota", "quota of downloads is used up"),
        ("gone", "moved or deleted, or is not public"),
        ("closed", "no connection to drive.google.com"),
    ],
)
def test_what_went_wrong_is_said_with_the_way_by_hand(fetch, drive, tmp_path, mood, reason):
    """The link, where to put the file and what then; nothing is left that would pass for weights."""
    drive.mood = mood
    status, _, said = fetch("disfa", "--accept-licences")
    assert status == 1 and reason in said and "Traceback" not in said
    model = published.MODELS["disfa"]
    target = tmp_path / "weights/published" / model.name
    assert f"open {model.link} in a browser, save the file as {target}, and run the same command again" in said
    assert not target.exists() and not (tmp_path / "weights/disfa").exists()


@pytest.mark.parametrize(("mood", "reason"), [("gone", "moved or deleted (HTTP 404)"), ("page", "is a web page")])
def test_a_plain_server_that_has_no_file(fetch, drive, tmp_path, mood, reason):
    """NVIDIA's server says 404; a proxy's page in the file's place is found out and does not stay."""
    drive.mood = mood
    status, _, said = fetch("pretrained", "--accept-licences")
    assert status == 1 and reason in said and "By hand: open https://nvlabs-fi-cdn" in said
    assert not (tmp_path / "weights/published/ffhq.pkl").exists()


def test_a_bad_file_put_there_by_hand(fetch, drive, tmp_path):
    """It is named and left for its owner to delete."""
    target = tmp_path / "weights/published/fgnet_disfa_model.pth"
    target.parent.mkdir(parents=True)
    target.write_bytes(published.MODELS["disfa"].link.encode())
    status, _, said = fetch("disfa", "--accept-licences")
    assert status == 1 and f"delete {target}" in said and target.exists()


def test_without_gdown(fetch, drive, monkeypatch):
    """The extra is named, and the way by hand."""
    monkeypatch.setitem(sys.modules, "gdown", None)
    status, _, said = fetch("disfa", "--accept-licences")
    assert status == 1 and "pip install 'fgnet_jax[fetch]'" in said and "By hand" in said


def test_an_interrupted_download(fetch, drive, monkeypatch):
    """Ctrl-C ends with 130 and a sentence."""

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(HTTPAdapter, "send", interrupt)
    status, _, said = fetch("disfa", "--accept-licences")
    assert status == 130 and "goes on from there" in said


def test_an_output_in_the_way(fetch, drive, tmp_path):
    """Is refused before anything is asked or downloaded."""
    (tmp_path / "weights/disfa").mkdir(parents=True)
    status, printed, said = fetch()
    assert status == 1 and "exists" in said and printed == "" and drive.requests == []


def test_usage(capsys):
    """What can be fetched is a short list; the help has every link and every term."""
    for arguments, status in ((["fetch", "ck", "--output", "o"], 2), (["fetch", "--help"], 0)):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == status
    printed = capsys.readouterr().out
    for file in (*published.MODELS.values(), published.ENCODER, published.GENERATOR):
        assert file.link in printed and file.terms in printed
