"""The README's example in Python runs as it stands, with the models that ship, on a small CT."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_ext.commands.simulate_fractures import main as simulate

README = Path(__file__).parents[3] / "README.md"


@pytest.mark.slow
def test_the_example_of_the_readme(tmp_path, environment):
    made = ["--phantom", "--seed", "7", "--spacing", "3", "--field-of-view", "220", "220", "250"]
    assert simulate([*made, "-o", str(tmp_path / "patient"), "--scheme", "pengwin2026"]) == 0
    (ct,) = (tmp_path / "patient" / "images").iterdir()
    ct.rename(tmp_path / "ct.nii.gz")
    example = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[0]
    line = [sys.executable, "-c", example]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    names = [text.split(" ", 1)[1] for text in done.stdout.splitlines()]
    assert any(name.startswith("Left hip bone, fragment") for name in names)
    assert (tmp_path / "out" / "case" / "report.html").is_file()
