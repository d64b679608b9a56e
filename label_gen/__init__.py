"""Fragments to ABBC classes. Pure arrays: NumPy in, NumPy out."""

from label_gen.classes import ABBC
from label_gen.errors import DataError, FractureError, GridError, SchemeError, UsageError, VolumeFileError
from label_gen.generate import GeneratedABBC, generate_abbc
from label_gen.pieces import PieceReport
from label_gen.scheme import FREE_SCHEME, Bone, LabelScheme
from label_gen.settings import GenerationSettings

__all__ = [
    "ABBC",
    "FREE_SCHEME",
    "Bone",
    "DataError",
    "FractureError",
    "GeneratedABBC",
    "GenerationSettings",
    "GridError",
    "LabelScheme",
    "PieceReport",
    "SchemeError",
    "UsageError",
    "VolumeFileError",
    "generate_abbc",
]
