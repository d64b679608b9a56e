import json

import numpy as np
import pytest

from label_gen.phantom import make_phantom
from nnunet_ext.fragment_names import name_fragments
from nnunet_ext.report import write_preview, write_report
from nnunet_ext.schemes import load_scheme
from nnunet_ext.volumes import Volume

SCHEME = load_scheme("pengwin2026")
COUNTS = {"sacrum": 1, "left_hip": 3, "right_hip": 1, "left_femur": 1, "right_femur": 1}
HOSTILE = '<script>alert("x")</script>&\'"</title>'


def statistics_of(labels, names):
    """Statistics in the layout of `statistics.json`, by hand; confidences 0.9, 0.3 and none for the left hip bone."""
    voxel = float(np.prod(labels.spacing_mm))
    fragments = [
        {
            "label": number,
            "segment_id": name.segment_id,
            "name": name.display_name,
            "bone": name.bone,
            "colour": name.hex_colour,
            "volume_mm3": float(np.count_nonzero(labels.array == number)) * voxel,
            "surface_mm2": 12345.0,
            "mean_hu": 321.4,
            "centroid_lps_mm": [1.25, -2.0, 3.0],
            "box_lps_mm": [[0.0, 0.0, 0.0], [40.0, 50.0, 60.0]],
            "neighbours": [{"label": 51, "contact_mm2": 250.0, "smallest_gap_mm": 0.0}] if number == 52 else [],
        }
        for number, name in names.items()
    ]
    pairs = ((51, 52, 0.9), (51, 53, 0.3), (52, 53, None))
    interfaces = [
        {"first": a, "second": b, "contact_mm2": 300.0, "smallest_gap_mm": 0.0, "confidence": confidence}
        for a, b, confidence in pairs
    ]
    decisions = ["a speck of 3 mm3 was dropped"]
    return {"note": "", "fragments": fragments, "interfaces": interfaces, "decisions": decisions}


@pytest.fixture(scope="session")
def case():
    """CT, labels and names of a small phantom; the left hip bone is in three pieces."""
    phantom = make_phantom(5, (3.0, 3.0, 3.0), scheme=SCHEME, fragments=COUNTS)
    ct, labels = (Volume(array, phantom.spacing_mm, phantom.origin_mm) for array in (phantom.ct, phantom.labels))
    return ct, labels, name_fragments([int(n) for n in np.unique(phantom.labels)], SCHEME)


@pytest.fixture(scope="session")
def preview(case, tmp_path_factory):
    """The picture of the phantom."""
    path = tmp_path_factory.mktemp("preview") / "preview.png"
    write_preview(path, *case, title="A case")
    return path


@pytest.fixture(scope="session")
def report(case, preview, tmp_path_factory):
    """The report of the phantom, whose title and one warning are hostile."""
    ct, labels, names = case
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(
        path,
        ct=ct,
        labels=labels,
        names=names,
        statistics=statistics_of(labels, names),
        warnings=["cut by the field of view", f"read /data/patient/{HOSTILE}"],
        title=HOSTILE,
        preview=preview,
        run={"versions": {"python": "3.11"}, "seconds": {"predict": 12.3456}, "warnings": ["twice"], "fast": False},
    )
    return path


@pytest.fixture(scope="session")
def content(report):
    """The data inside the report."""
    text = report.read_text(encoding="utf-8")
    return json.loads(text.split('id="data">')[1].split("</script>")[0])


@pytest.fixture
def statistics(case):
    return statistics_of(case[1], case[2])
