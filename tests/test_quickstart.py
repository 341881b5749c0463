"""docs/quickstart.ipynb runs from its first cell to its last, in an empty folder, and is committed without outputs."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra dev")
nbclient = pytest.importorskip("nbclient", reason="needs the extra dev")

NOTEBOOK = Path(__file__).parents[1] / "docs/quickstart.ipynb"


def test_it_is_committed_without_outputs():
    """And without numbers of execution: what changes at every run is no source."""
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    assert len(cells) >= 8
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of Jupyter's own
def test_it_runs(tmp_path, monkeypatch):
    """Each cell ends well: a table, drawings of the face and of heatmaps, and the pace of the student."""
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    notebook = nbformat.read(NOTEBOOK, 4)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs)
    assert "error" not in text and "Traceback" not in text, text
    assert "student, 12 AUs" in text and "faces/s, one face at a time" in text
    shown = [kind for output in outputs for kind in output.get("data", {})]
    assert shown.count("image/png") == 2 and "text/html" in shown
    for run in ("teacher", "student"):
        assert (tmp_path / "quickstart" / run / "best").is_dir()
