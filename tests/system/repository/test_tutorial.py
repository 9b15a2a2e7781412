"""The tutorial's code runs, cell after cell, as the site's build runs it."""

import json
import os
import subprocess
import sys

from tests import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def test_the_tutorial_runs(tmp_path):
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code
    script = tmp_path / "tutorial.py"
    script.write_text("\n\n".join(code) + "\n")
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "layer '7' does not fit" in done.stdout  # and the cell that shows a refusal is refused
