"""Colour table and label file: read back by the rules of Slicer and ITK-SNAP."""

import re

import pytest

from nnunet_ext.fragment_names import name_fragments
from nnunet_ext.outputs import write_itksnap_labels, write_slicer_colours
from nnunet_ext.schemes import load_scheme


@pytest.fixture
def names():
    return name_fragments([101, 1, 52], load_scheme("pengwin2026"))


def test_slicer_colour_table(tmp_path, names):
    write_slicer_colours(tmp_path / "new" / "segmentation.ctbl", names)
    lines = (tmp_path / "new" / "segmentation.ctbl").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "0 Background 0 0 0 0",
        "1 Sacrum_fragment_1 230 159 0 255",
        "52 Left_hip_bone_fragment_2 70 160 228 255",
        "101 Right_hip_bone_fragment_1 204 121 167 255",
    ]
    assert "Research use only" in lines[0]
    assert all(len(line) < 1024 for line in lines)  # Slicer's buffer


def test_itksnap_label_file(tmp_path, names):
    write_itksnap_labels(tmp_path / "segmentation.label.txt", names)
    text = (tmp_path / "segmentation.label.txt").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    pattern = re.compile(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([\d.]+)\s+([01])\s+([01])\s+"(.*)"')
    assert [pattern.fullmatch(row).groups() for row in rows] == [
        ("0", "0", "0", "0", "0", "0", "0", "Clear Label"),
        ("1", "230", "159", "0", "1", "1", "1", "Sacrum, fragment 1"),
        ("52", "70", "160", "228", "1", "1", "1", "Left hip bone, fragment 2"),
        ("101", "204", "121", "167", "1", "1", "1", "Right hip bone, fragment 1"),
    ]
    assert "Research use only" in text


def test_names_of_users_cannot_break_the_columns(tmp_path):
    from dataclasses import replace

    (name,) = name_fragments([3], load_scheme("free")).values()
    odd = {3: replace(name, display_name="the 'odd' \"bone\",\n two")}
    write_slicer_colours(tmp_path / "a.ctbl", odd)
    write_itksnap_labels(tmp_path / "a.txt", odd)
    assert (tmp_path / "a.ctbl").read_text().splitlines()[2].startswith("3 the_odd_bone_two ")
    assert (tmp_path / "a.txt").read_text().splitlines()[-1].endswith("\"the 'odd'  bone ,  two\"")
