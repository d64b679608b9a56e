"""The page of pictures: one file with everything in it, each case with its fractures."""

import base64
import io
import json
import re

import numpy as np
import pytest
from matplotlib.image import imread

from label_gen.errors import GridError, UsageError
from nnunet_ext.simulation.gallery import write_gallery
from nnunet_ext.simulation.surfaces import VIEWS, draw_surfaces, draw_xray
from nnunet_ext.volumes import Volume, write_volume

SPACING = (2.0, 1.5, 1.5)


def save_case(folder, name, with_ct=True, ct_shape=(20, 30, 40)):
    """Write a bone in two fragments and a whole one."""
    labels = np.zeros((20, 30, 40), np.uint8)
    labels[3:17, 8:20, 5:16], labels[3:17, 8:20, 16:24], labels[5:12, 6:14, 30:38] = 11, 12, 1
    for kind, array in (("labels", labels), ("images", np.full(ct_shape, 40, np.int16))):
        if kind == "labels" or with_ct:
            (folder / kind).mkdir(parents=True, exist_ok=True)
            if kind == "images":
                array[3:17, 8:20, 5:24] = 700
            write_volume(Volume(array, SPACING), folder / kind / f"{name}.nii.gz")
    (folder / "motions").mkdir(exist_ok=True)
    record = {"seed": 5, "scheme": "pengwin2024", "source": {"name": "a <b> & c"}, "fractures": [{"kind": "closed"}]}
    (folder / "motions" / f"{name}.json").write_text(json.dumps(record))


def pictures(page):
    return [imread(io.BytesIO(base64.b64decode(text))) for text in re.findall(r"base64,([^\"]+)\"", page)]


def test_page_holds_everything(tmp_path):
    for name in ("one", "two", "three"):
        save_case(tmp_path, name)
    path = write_gallery(tmp_path, cases=2)
    page = path.read_text(encoding="utf-8")
    assert path == tmp_path / "gallery.html"
    assert page.count("<h2>") == 2
    assert not re.search(r"https?://|src=\"(?!data:)|<script|<link", page)
    assert "a &lt;b&gt; &amp; c, seed 5; fractures: 1 closed" in page
    found = pictures(page)
    # Three planes twice, surfaces, X-ray, and one fracture at close range twice; of two cases.
    assert len(found) == 2 * (6 + len(VIEWS) + 1 + 2)
    assert path.read_bytes() == write_gallery(tmp_path, tmp_path / "again.html", cases=2).read_bytes()


def test_labels_alone_are_drawn(tmp_path):
    save_case(tmp_path, "one", with_ct=False)
    assert len(pictures(write_gallery(tmp_path, tmp_path / "page.html").read_text())) == 3 + len(VIEWS) + 1


def test_real_cases_stand_beside(tmp_path):
    save_case(tmp_path / "made", "one", with_ct=False)
    save_case(tmp_path / "found", "patient", with_ct=False)
    page = write_gallery(tmp_path / "made", real=tmp_path / "found").read_text()
    assert "Simulated: one" in page
    assert "Real: patient" in page


def test_wrong_use_is_told(tmp_path):
    with pytest.raises(UsageError, match="holds no folder 'labels'"):
        write_gallery(tmp_path)
    save_case(tmp_path, "one", ct_shape=(20, 30, 41))
    with pytest.raises(UsageError, match="at least 1"):
        write_gallery(tmp_path, cases=0)
    with pytest.raises(GridError):
        write_gallery(tmp_path)


def test_surfaces_show_what_is_in_front():
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[8:22, 5:10, 8:22], labels[8:22, 15:20, 8:22] = 1, 2
    colours = {1: (255, 0, 0), 2: (0, 0, 255)}
    front, back = (draw_surfaces(labels, (1.0, 1.0, 1.0), colours, VIEWS[name]) for name in ("front", "back"))
    middle = tuple(n // 2 for n in front.shape[:2])
    assert front[middle][0] > front[middle][2] + 60
    assert back[middle][2] > back[middle][0] + 60
    assert (draw_surfaces(labels, (1.0, 1.0, 1.0), {}, VIEWS["front"]) == front[0, 0]).all()


def test_xray_is_bright_behind_bone():
    ct = np.full((40, 20, 60), 40, np.int16)
    ct[10:30, 5:15, 20:30] = 900
    picture = draw_xray(ct, (1.0, 1.0, 1.0))
    assert picture.shape == (40, 60)
    assert picture[20, 25] > 200 > 100 > picture[20, 45]
