"""Runs on Dask, in processes of their own, as the clusters leave threads behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed")

MAIN = "from nnunet_ext.commands.simulate_fractures import main\n"

CLUSTER = (
    MAIN
    + """
import json, sys
from pathlib import Path
from distributed import LocalCluster

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    small = ["--phantom", "--spacing", "3", "--field-of-view", "150", "110", "150"]
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        status = main([*small, "-o", str(folder / "dask"), "--dask", cluster.scheduler_address])
        again = main([*small, "-o", str(folder / "dask"), "--dask", cluster.scheduler_address])
        (folder / "bad").mkdir()
        (folder / "bad" / "pelvis.nii.gz").write_bytes(b"no volume")
        bad = main(["-i", str(folder / "bad"), "--phantom", "-n", "2", "--spacing", "3", "--no-ct", "-o",
                    str(folder / "out"), "--dask", cluster.scheduler_address])
    alone = main([*small, "-o", str(folder / "alone")])
    print(json.dumps([status, again, bad, alone]))
"""
)

EMPTY = (
    MAIN
    + """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as cluster:
        sys.exit(main(["--phantom", "-o", sys.argv[1], "--dask", cluster.scheduler_address]))
"""
)


def run(code, *arguments, folder, environment):
    """Run a script, which worker processes import anew, and return what came of it."""
    script = folder / "script.py"
    script.write_text(code)
    return subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONWARNINGS": "default"},
        cwd=folder,
        check=False,
        timeout=300,
    )


def contents(folder: Path):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*") if path.is_file()}


@pytest.mark.slow
def test_a_cluster_makes_the_same_files(tmp_path, environment):
    done = run(CLUSTER, tmp_path, folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 0, 1, 0], done.stderr
    assert "abbc-simulate-fractures: 1 skipped" in done.stderr
    assert "error: case pelvis_00001: " in done.stderr
    assert "abbc-simulate-fractures: 1 done, 1 failed" in done.stderr
    dask, alone = contents(tmp_path / "dask"), contents(tmp_path / "alone")
    assert len(dask) == 5
    assert dask == alone


@pytest.mark.parametrize(("address", "reason"), [("tcp://127.0.0.1:9", "Timed out"), ("rubbish", "missing port")])
def test_nobody_answers(tmp_path, environment, address, reason):
    command = [sys.executable, "-m", "nnunet_ext.commands.simulate_fractures", "--phantom", "-o", str(tmp_path / "out")]
    done = subprocess.run([*command, "--dask", address], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2, done.stderr
    assert f"abbc-simulate-fractures: error: no Dask scheduler answers at '{address}' ({reason}" in done.stderr
    assert "start one (dask scheduler), start workers" in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_works(tmp_path, environment):
    done = run(EMPTY, tmp_path / "out", folder=tmp_path, environment=environment)
    assert done.returncode == 2, done.stderr
    assert "has no workers; start some: dask worker tcp://127.0.0.1:" in done.stderr
