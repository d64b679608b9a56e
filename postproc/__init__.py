"""ABBC classes to fragments, and fragments to scores. Pure arrays: NumPy in, NumPy out."""

from postproc.recover import RecoveredFragments, recover_fragments
from postproc.thresholds import DEFAULT_THRESHOLDS, Thresholds
