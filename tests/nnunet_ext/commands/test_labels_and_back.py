"""The three commands in a row on a virtual patient: fragments to classes, classes to fragments, and their scores."""

import json

import numpy as np
import pytest

from label_gen.phantom import make_phantom
from nnunet_ext.commands import evaluate, generate_labels, recover_instances
from nnunet_ext.schemes import load_scheme
from nnunet_ext.volumes import Volume, write_volume


@pytest.mark.slow
def test_every_fragment_comes_back(tmp_path):
    patient = make_phantom(14, (2.0, 2.0, 2.0), scheme=load_scheme("pengwin2024"))
    for name in ("labels", "anatomy"):
        volume = Volume(getattr(patient, name), patient.spacing_mm, patient.origin_mm)
        write_volume(volume, tmp_path / name / "phantom.nii.gz")
    labels, anatomy, abbc, fragments = (str(tmp_path / name) for name in ("labels", "anatomy", "abbc", "fragments"))
    scores = tmp_path / "scores.json"
    assert generate_labels.main(["-i", labels, "-o", abbc, "--audit"]) == 0
    assert recover_instances.main(["-i", abbc, "-a", anatomy, "-o", fragments]) == 0
    assert evaluate.main(["-p", fragments, "-r", labels, "-o", str(scores)]) == 0
    rows = json.loads(scores.read_text())["cases"]["phantom"]["fragments"]
    assert len(rows) >= 5
    assert {row["status"] for row in rows} == {"matched"}
    assert min(row["iou"] for row in rows) > 0.9
    assert np.mean([row["iou"] for row in rows]) > 0.97
