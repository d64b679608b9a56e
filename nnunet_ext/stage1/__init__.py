"""Stage 1: the whole bones of a CT, by TotalSegmentator, a model or a file, checked for plausibility."""

from nnunet_ext.stage1.bones import BONES, Bones
from nnunet_ext.stage1.plausibility import Finding, check_bones
from nnunet_ext.stage1.segmenting import BoneFinder, segment_bones

__all__ = ["BONES", "BoneFinder", "Bones", "Finding", "check_bones", "segment_bones"]
