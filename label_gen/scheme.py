"""Label schemes: which fragment number belongs to which bone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import SchemeError

__all__ = ["FREE_SCHEME", "Bone", "LabelScheme"]


@dataclass(frozen=True)
class Bone:
    """A bone of a label scheme and the band of fragment numbers that it owns.

    Attributes:
        name: Identifier, as in the anatomy volume (`sacrum`, `left_hip`, ...).
        first_id: Smallest fragment number of the band; the largest fragment gets it.
        last_id: Largest fragment number of the band, included.
        display_name: Name for people.
        colour: Red, green, blue of the bone, 0 to 255.
        totalsegmentator: TotalSegmentator classes that make up the bone.
        snomed: SNOMED CT codes: `type`, and where it has a side, `laterality`.
        anatomy_names: Names in the anatomy table of the parts that the band covers, where they are not `name` itself:
            a band of femora without side covers `left_femur` and `right_femur`. Empty means `(name,)`.
    """

    name: str
    first_id: int
    last_id: int
    display_name: str = ""
    colour: tuple[int, int, int] = (200, 200, 200)
    totalsegmentator: tuple[str, ...] = ()
    snomed: Mapping[str, str] = field(default_factory=dict)
    anatomy_names: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the bone in the anatomy table: `anatomy_names`, or the bone's own name."""
        return self.anatomy_names or (self.name,)

    @property
    def band(self) -> range:
        """Fragment numbers of the bone."""
        return range(self.first_id, self.last_id + 1)

    @property
    def capacity(self) -> int:
        """How many fragments the band holds."""
        return len(self.band)


@dataclass(frozen=True)
class LabelScheme:
    """Fragment numbers of a data set: one band of consecutive numbers per bone.

    Attributes:
        name: Identifier of the scheme.
        bones: The bones with a band, in the order of their bands.
        anatomy: Numbers of the bones in anatomy volumes, by name. It may name bones without a band; their voxels are
            outside the scheme.
        abbc: Names of the ABBC classes as data sets of this scheme spell them, by class number of `label_gen.ABBC`.
        description: One sentence about the scheme.
    """

    name: str
    bones: tuple[Bone, ...]
    anatomy: Mapping[str, int]
    abbc: tuple[str, ...] = ("background", "boundary", "core", "border")
    description: str = ""

    def __post_init__(self) -> None:
        if not self.bones:
            raise SchemeError(f"scheme '{self.name}' has no bones; expected at least one")
        previous = 0
        for bone in self.bones:
            if bone.first_id <= previous or bone.last_id < bone.first_id:
                raise SchemeError(
                    f"scheme '{self.name}': the band {bone.first_id}-{bone.last_id} of '{bone.name}' is empty, not "
                    f"positive, or overlaps the band before it (ends at {previous}); order the bones by their bands"
                )
            previous = bone.last_id
            for part in bone.parts:
                if part not in self.anatomy:
                    raise SchemeError(f"scheme '{self.name}': bone '{part}' has no number in the anatomy table")

    @property
    def last_id(self) -> int:
        """Largest fragment number of the scheme."""
        return self.bones[-1].last_id

    def bone(self, name: str) -> Bone:
        """Return the bone of that name.

        Raises:
            SchemeError: There is no such bone with a band.
        """
        for bone in self.bones:
            if bone.name == name:
                return bone
        known = ", ".join(bone.name for bone in self.bones)
        raise SchemeError(f"scheme '{self.name}' has no bone '{name}'; it has {known}")

    def bone_of(self, fragment_id: int) -> Bone:
        """Return the bone that a fragment number belongs to.

        Raises:
            SchemeError: The number is in no band.
        """
        for bone in self.bones:
            if fragment_id in bone.band:
                return bone
        raise SchemeError(f"label {fragment_id} is in no band of scheme '{self.name}' ({self.describe_bands()})")

    def bone_index_of_anatomy(self) -> dict[int, int]:
        """Return, for each anatomy number that a band covers, the index of its bone in `bones`."""
        return {self.anatomy[part]: index for index, bone in enumerate(self.bones) for part in bone.parts}

    def check_ids(self, fragment_ids: Sequence[int] | NDArray[Any]) -> None:
        """Check that every fragment number belongs to a bone.

        Raises:
            SchemeError: Some number is in no band; the message names all of them and the bands.
        """
        ids = np.asarray(fragment_ids)
        is_known = np.zeros(ids.shape, bool)
        for bone in self.bones:
            is_known |= (ids >= bone.first_id) & (ids <= bone.last_id)
        unknown = [int(i) for i in ids[~is_known]]
        if unknown:
            shown = ", ".join(map(str, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
            raise SchemeError(
                f"labels {shown} are in no band of scheme '{self.name}' ({self.describe_bands()}); "
                "choose the scheme the labels were made with (--scheme), or relabel them"
            )

    def describe_bands(self) -> str:
        """Return the bands as text, for messages."""
        return ", ".join(f"{bone.name} {bone.first_id}-{bone.last_id}" for bone in self.bones)


FREE_SCHEME = LabelScheme(
    name="free",
    bones=(Bone("bone", 1, 65535, display_name="Bone"),),
    anatomy={"bone": 1},
    description="Any positive numbers, all of one bone.",
)
"""The scheme used when none is given: any number from 1 to 65535, one bone."""
