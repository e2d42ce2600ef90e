"""The quick-start notebook runs from top to bottom and says what it should."""

from __future__ import annotations

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "quickstart.ipynb"


def test_it_is_committed_without_outputs():
    nbformat = pytest.importorskip("nbformat")
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    assert all(not cell.outputs and cell.execution_count is None for cell in book.cells if cell.cell_type == "code")


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the notebook client's own dependencies
def test_it_runs_top_to_bottom(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    book = nbformat.read(NOTEBOOK, as_version=4)
    client.NotebookClient(book, timeout=170, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = {cell.id: "".join(str(o.get("text", "")) + str(o.get("data", "")) for o in cell.outputs)
            for cell in book.cells if cell.cell_type == "code"}  # fmt: skip
    assert "Did you mean framing.layout?" in said["run"]
    assert "'done', 120" in said["wait"]
    shown = {cell.id: [set(o.get("data", ())) for o in cell.outputs] for cell in book.cells if cell.cell_type == "code"}
    assert {"text/plain", "text/html"} in shown["wait"], "the job as a table"
    assert all({"text/plain", "image/png"} in shown[cell] for cell in ("timeline", "preview"))
    assert {"text/plain", "text/html"} in shown["video"]
    assert "'skipped', 0" in said["again"]
    assert list(tmp_path.iterdir()) == []
