"""The bones model that ships, in real CTs unlike those that it knows: it doubts what it finds there, and says so."""

from pathlib import Path

import pytest

from label_gen.errors import DataError
from nnunet_ext.ct import read_ct
from nnunet_ext.stage1 import BoneFinder

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real CTs of ../shared/data are not here")
@pytest.mark.parametrize("file", ["ct/sts_001_ct.nii.gz", "dicom/crlm_1004_abdomen_no_pelvis.zip"])
def test_what_is_found_is_not_believed(file):
    find = BoneFinder("bundled", device="cpu", fast=True)
    with pytest.raises(DataError, match=r"the model doubts .* If the bones are there, let TotalSegmentator find them"):
        find(read_ct(SHARED / file).volume)
