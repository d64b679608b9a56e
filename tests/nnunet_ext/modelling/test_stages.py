"""Stages: skipped if finished, resumed if not, refused if made otherwise."""

import pytest

from label_gen.errors import DataError, UsageError
from nnunet_ext.modelling.stages import Stages


@pytest.fixture
def line(tmp_path):
    """Stages whose work notes whether it began anew."""
    said, done = [], []

    def run(name, settings, *, redo=(), fails=False, **options):
        def work(anew):
            done.append((name, anew))
            if fails:
                raise DataError("no luck")
            return {"count": len(done)}

        return Stages(tmp_path, redo=redo, say=said.append).run(name, settings, work, **options)

    run.done, run.said, run.record = done, said, Stages(tmp_path).record
    return run


def test_a_finished_stage_is_skipped(line):
    assert line("train", {"epochs": 5}) == line("train", {"epochs": 5}) == {"count": 1}
    assert line.done == [("train", True)]
    assert line.said == ["train: begins", "train: done in 0 s", "train: finished before"]
    record = line.record("train")
    assert (record["settings"], record["status"], record["result"]) == ({"epochs": 5}, "done", {"count": 1})
    assert record["versions"]["nnunet-abbc"]


def test_an_interrupted_stage_goes_on(line):
    with pytest.raises(DataError):
        line("train", {"epochs": 5}, fails=True)
    assert line.record("train")["status"] == "started"
    line("train", {"epochs": 5})
    assert line.done == [("train", True), ("train", False)]


def test_other_settings_are_refused_unless_told(line):
    line("train", {"width": 8})
    with pytest.raises(UsageError, match=r"made otherwise: width was 8, now it is 16; redo it \(--redo train"):
        line("train", {"width": 16})
    line("train", {"width": 16}, redo=["train"])
    assert line.done == [("train", True), ("train", True)]
    line("train", {"width": 4}, is_cheap=True)
    assert line.done[-1] == ("train", True)


def test_settings_that_may_grow(line):
    line("train", {"epochs": 5, "width": 8})
    line("train", {"epochs": 9, "width": 8}, may_grow=["epochs"])
    assert line.done[-1] == ("train", False)
    with pytest.raises(UsageError, match="epochs was 9, now it is 5"):
        line("train", {"epochs": 5, "width": 8}, may_grow=["epochs"])


def test_stages_build_on_others(line):
    with pytest.raises(UsageError, match="the stage 'plan' has to be done first; leave out --stage"):
        line("train", {}, after=["plan"])
    line("plan", {})
    line("train", {}, after=["plan"])
    line("train", {}, after=["plan"])
    assert [name for name, _ in line.done] == ["plan", "train"]
    line("plan", {}, redo=["plan"])
    with pytest.raises(UsageError, match="the stage 'plan' was done again since"):
        line("train", {}, after=["plan"])
    line("train", {}, after=["plan"], is_cheap=True)
    assert line.done[-1] == ("train", True)
