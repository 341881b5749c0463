"""The folder for uploads: its user's alone, and gone when its process has ended, however it has."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from fgnet_jax.app import private_folder

PREFIX = "faces_"
HOLD = (
    "import sys, time\n"
    "from fgnet_jax.app import private_folder\n"
    "with private_folder.private_folder('faces_') as folder:\n"
    "    (folder / 'face.png').write_text('a face')\n"
    "    print(folder, flush=True)\n"
    "    time.sleep(600)\n"
)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Let this process and those that it starts have a folder for temporary files of their own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def holder(temporary):
    """Start a process that has such a folder; return it and the folder."""
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_only_its_user_can_read_it_and_it_ends_with_the_block(temporary):
    """Also where the block ends by an exception, and with whatever is in it."""
    with pytest.raises(RuntimeError), private_folder.private_folder(PREFIX) as folder:
        assert folder.parent == temporary and stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "results" / "1").mkdir(parents=True)
        (folder / "results" / "1" / "face.png").write_text("a face")
        raise RuntimeError
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_has_left_is_removed_at_the_next_start(holder, temporary):
    """SIGKILL lets nobody clean up; the lock, which has ended with the process, tells that it is dead."""
    process, left = holder
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert (left / "face.png").exists()
    with private_folder.private_folder(PREFIX) as folder:
        assert list(temporary.iterdir()) == [folder]


def test_a_folder_that_is_being_created_is_no_leftover(temporary, monkeypatch):
    """Also where another process removes leftovers at this very moment, and is interrupted in between."""
    is_met, goes_on = threading.Event(), threading.Event()
    mkdtemp, rmtree = tempfile.mkdtemp, shutil.rmtree

    def slow_rmtree(path, **options):
        for file in Path(path).iterdir():
            file.unlink()
        is_met.set()
        goes_on.wait(60)
        rmtree(path, **options)

    def remove():
        private_folder.remove_leftovers(temporary, PREFIX)
        is_met.set()

    remover = threading.Thread(target=remove)

    def met_mkdtemp(**options):
        path = mkdtemp(**options)
        remover.start()
        assert is_met.wait(60)
        return path

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "mkdtemp", met_mkdtemp)
        patch.setattr(shutil, "rmtree", slow_rmtree)
        with private_folder.private_folder(PREFIX) as folder:
            goes_on.set()
            remover.join()
            assert folder.exists() and folder.name.startswith(PREFIX)
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_living_process_stays(holder, temporary):
    """Two pages at once do not remove each other's files."""
    _, other = holder
    with private_folder.private_folder(PREFIX) as folder:
        assert {*temporary.iterdir()} == {folder, other} and (other / "face.png").exists()


def test_other_folders_and_links_stay(temporary, tmp_path_factory):
    """A link of such a name may lead anywhere."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "thesis.txt").write_text("years of work")
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    (temporary / "other").mkdir()
    with private_folder.private_folder(PREFIX):
        pass
    assert {path.name for path in temporary.iterdir()} == {f"{PREFIX}link", "other"}
    assert (elsewhere / "thesis.txt").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_folders_of_other_users_stay(temporary):
    """Root could remove them."""
    (temporary / f"{PREFIX}other").mkdir()
    os.chown(temporary / f"{PREFIX}other", 12345, 12345)
    with private_folder.private_folder(PREFIX):
        pass
    assert [path.name for path in temporary.iterdir()] == [f"{PREFIX}other"]


def test_temporary_files_are_created_in_it(temporary):
    """Those of Python and Gradio; afterwards, everything is as it was."""
    before = dict(os.environ), tempfile.gettempdir()
    with private_folder.private_folder(PREFIX) as folder, private_folder.for_temporary_files(folder) as original:
        assert original == before[0]
        assert Path(tempfile.mkdtemp()).parent == folder
        assert Path(os.environ["GRADIO_TEMP_DIR"]).parent == folder
    assert (dict(os.environ), tempfile.gettempdir()) == before
