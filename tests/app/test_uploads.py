"""Files that were uploaded: as long as a tab shows them, and no longer."""

import pytest

from fgnet_jax.app.uploads import Uploads


@pytest.fixture
def uploads(tmp_path):
    """Return the uploads of a folder."""
    return Uploads(tmp_path / "files")


@pytest.fixture
def path(tmp_path):
    """Return a file as Gradio stores it: in a folder that is named by its content."""
    path = tmp_path / "files" / "9f86d081" / "face.png"
    path.parent.mkdir(parents=True)
    path.write_text("a face")
    return path


def test_a_file_of_two_tabs_goes_with_the_second(uploads, path):
    """Gradio stores what is equal once."""
    uploads.hold("one", [str(path)])
    uploads.hold("two", [str(path)])
    uploads.hold("one", [])
    assert path.exists()
    uploads.hold("two", [])
    assert not path.parent.exists()


def test_a_file_that_was_uploaded_anew_stays(uploads, path):
    """Its tab has not shown it yet, when it takes the former one off the page."""
    uploads.hold("one", [str(path)])
    (path.parent / "new").write_text("a face")
    (path.parent / "new").rename(path)
    uploads.hold("one", [])
    assert path.exists()
    uploads.hold("one", [str(path)])
    uploads.hold("one", [])
    assert not path.exists()


def test_files_elsewhere_and_folders_stay(uploads, path, tmp_path):
    """Such as the example; a request may name any path."""
    (tmp_path / "example.jpg").write_text("a face")
    uploads.hold("one", [str(tmp_path / "example.jpg"), str(path.parent), str(tmp_path / "files" / "absent")])
    uploads.hold("one", [])
    assert path.exists() and (tmp_path / "example.jpg").exists()
