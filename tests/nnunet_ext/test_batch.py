import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from label_gen.errors import UsageError
from nnunet_ext.atomic import replacing
from nnunet_ext.batch import Task, run_batch
from nnunet_ext.manifest import Manifest

# Worker processes import functions by name, which this file has none to offer under pytest's import mode.
WORK = """
import os, signal, time
from nnunet_ext.atomic import replacing

def work(output, do="write"):
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "fail":
        from label_gen.errors import DataError
        raise DataError(f"'{output}' is bad")
    with replacing(output) as temporary:
        temporary.write_text("half")
        if do == "sleep":
            (output.parent / "asleep").touch()
            time.sleep(60)
    return {"threads": os.environ.get("OMP_NUM_THREADS")}
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A function that worker processes can import."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "batch_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path / "code")
    import batch_work

    yield batch_work.work
    del sys.modules["batch_work"]


def tasks(folder, **what):
    return [
        Task(name, (folder / f"{name}.txt",), {"output": folder / f"{name}.txt", "do": do}) for name, do in what.items()
    ]


def statuses(batch):
    return {result.name: result.status for result in batch.results}


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_bad_case_does_not_stop_the_others(tmp_path, work, workers):
    out = tmp_path / "out"
    seen = []
    manifest = Manifest(out / "m.json", "abbc-x", {})
    batch = run_batch(
        work,
        [*tasks(out, a="write", b="fail", c="write"), Task("d", problem="no partner")],
        workers=workers,
        manifest=manifest,
        on_result=seen.append,
    )
    assert statuses(batch) == {"a": "done", "b": "failed", "c": "done", "d": "failed"}
    assert batch.exit_status == 1
    assert [result.error for result in batch.failed] == [f"'{out / 'b.txt'}' is bad", "no partner"]
    assert "Traceback" in batch.failed[0].trace
    assert sorted(result.name for result in seen) == ["a", "b", "c", "d"]
    text = (out / "m.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["cases"]["b"]["error"] == "'b.txt' is bad"

    again = run_batch(work, tasks(out, a="fail", b="write", c="fail"), workers=workers)
    assert statuses(again) == {"a": "skipped", "b": "done", "c": "skipped"}
    assert again.exit_status == 0
    redone = run_batch(work, tasks(out, a="write", b="fail"), workers=workers, overwrite=True)
    assert statuses(redone) == {"a": "done", "b": "failed"}


def test_unexpected_errors_are_reported_as_such(tmp_path):
    def stumble():
        return {}["key"]

    def swallow_memory():
        raise MemoryError

    batch = run_batch(stumble, [Task("a")])
    assert batch.results[0].error.startswith("unexpected KeyError: 'key'; please report it")
    assert "fewer --workers" in run_batch(swallow_memory, [Task("a")]).results[0].error


def test_killed_worker_is_the_case_s_own_fault(tmp_path, work):
    out = tmp_path / "out"
    batch = run_batch(work, tasks(out, a="write", b="die", c="write", d="write", e="write"), workers=2)
    assert statuses(batch) == {"a": "done", "b": "failed", "c": "done", "d": "done", "e": "done"}
    assert "killed by the system for want of memory; use fewer --workers" in batch.failed[0].error
    assert sorted(os.listdir(out)) == ["a.txt", "c.txt", "d.txt", "e.txt"]


def test_threads_are_shared_out(tmp_path, work):
    batch = run_batch(work, tasks(tmp_path / "out", a="write"), workers=64)
    assert batch.results[0].details["threads"] == "1"


def test_negative_workers():
    with pytest.raises(UsageError, match=r"number of workers is -1; give 0 or more \(--workers\)"):
        run_batch(dict, [], workers=-1)


def test_interrupt_in_this_process_keeps_what_is_done(tmp_path):
    out = tmp_path / "out"

    def stop(output):
        with replacing(output) as temporary:
            temporary.write_text("half")
            if output.name == "b.txt":
                raise KeyboardInterrupt
        return {}

    manifest = Manifest(out / "m.json", "abbc-x", {})
    todo = [Task(name, (out / f"{name}.txt",), {"output": out / f"{name}.txt"}) for name in "abc"]
    with pytest.raises(KeyboardInterrupt):
        run_batch(stop, todo, manifest=manifest)
    assert sorted(os.listdir(out)) == ["a.txt", "m.json"]
    assert list(json.loads((out / "m.json").read_text())["cases"]) == ["a"]


RUN = """
import sys
from pathlib import Path
if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    import batch_work
    from nnunet_ext.batch import Task, run_batch
    out = Path(sys.argv[2])
    names = ["a", "b", "c"]
    todo = [Task(n, (out / n,), {"output": out / n, "do": "sleep" if n == "b" else "write"}) for n in names]
    run_batch(batch_work.work, todo, workers=2)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_batch(tmp_path, work, environment, how):
    out = tmp_path / "out"
    script = tmp_path / "run.py"
    script.write_text(RUN)
    command = [sys.executable, str(script), str(tmp_path / "code"), str(out)]
    options = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True, "env": environment}
    options["preexec_fn"] = heed_interrupts
    with subprocess.Popen(command, **options) as process:
        wait_for(lambda: (out / "asleep").exists() and (out / "c").exists())
        process.send_signal(how)
        started = time.monotonic()
        message = process.stderr.read()  # ends when the last worker has ended
    assert time.monotonic() - started < 20
    assert process.returncode != 0
    assert (how == signal.SIGKILL) or "KeyboardInterrupt" in message
    left = [name for name in os.listdir(out) if name.startswith(".")]
    assert len(left) == (how == signal.SIGKILL)
    assert not (out / "b").exists()


def heed_interrupts():
    """Undo what a shell does to jobs in the background: they, and all processes they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise TimeoutError


def test_task_paths_are_those_of_its_arguments():
    task = Task("a", (Path("o"),), {"x": Path("p"), "y": "q"})
    assert task.paths == (Path("o"), Path("p"))
