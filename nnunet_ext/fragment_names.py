"""What a fragment is called, how it is coloured and coded: one answer for all outputs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from label_gen.errors import SchemeError
from label_gen.scheme import Bone, LabelScheme
from nnunet_ext.colours import Colour, fragment_colour

__all__ = ["Code", "FragmentName", "SnomedCodes", "name_fragments"]


class Code(NamedTuple):
    """A SNOMED CT code.

    Attributes:
        value: The concept identifier.
        meaning: Its name for people.
    """

    value: str
    meaning: str


@dataclass(frozen=True)
class SnomedCodes:
    """What a fragment is, in SNOMED CT. There is no code for a fragment of a bone: it has that of its bone.

    Attributes:
        category: Category of the segment.
        type: The bone.
        laterality: Its side; None for bones in the middle and where the side is not known.
    """

    category: Code
    type: Code
    laterality: Code | None


@dataclass(frozen=True)
class FragmentName:
    """Name, colour and codes of one fragment.

    Attributes:
        label: Its number in the label volume.
        bone: Its bone as in the anatomy (`sacrum`, `left_hip`, `left_femur`, ...).
        segment_id: Identifier for machines and file names, `[A-Za-z0-9._-]+` (`hip_left_frag02`).
        display_name: Name for people (`Left hip bone, fragment 2`).
        colour: Red, green, blue, 0 to 255, sRGB.
        snomed: Codes of the bone and its side.
    """

    label: int
    bone: str
    segment_id: str
    display_name: str
    colour: Colour
    snomed: SnomedCodes

    @property
    def hex_colour(self) -> str:
        """The colour as `#rrggbb`."""
        return "#{:02x}{:02x}{:02x}".format(*self.colour)


CATEGORY = Code("123037004", "Anatomical Structure")
"""Source: category under which TotalSegmentator codes its classes."""

BONE = Code("272673000", "Bone")
"""Code of a bone whose scheme names none. Source: DICOM PS3.16, code of a bone."""

SIDES = {"left": Code("7771000", "Left"), "right": Code("24028007", "Right")}
"""Source: DICOM PS3.16, CID 244 Laterality."""

MEANINGS = {
    code.value: code.meaning
    for code in (BONE, *SIDES.values(), Code("54735007", "Sacrum"), Code("71341001", "Femur"), Code("29836001", "Hip"))
}
"""Names of the codes that the schemes of the project use. Source: DICOM PS3.16, Annex D; 29836001 as TotalSegmentator
names it."""


def name_fragments(
    labels: Iterable[int], scheme: LabelScheme, *, bones: Mapping[int, str] | None = None
) -> dict[int, FragmentName]:
    """Name fragments by their numbers.

    A fragment is counted by its place in the band of its bone, so that its name does not depend on which others
    there are. Where a band covers several bones (femora of both sides) and `bones` says which is which, the
    fragments of each bone are counted on their own, in the order of the numbers.

    Args:
        labels: Fragment numbers, in any order; 0 is left out.
        scheme: Scheme of the numbers.
        bones: Bone of a fragment by number, as named in the anatomy; needed only where a band covers several bones
            (`left_femur` and `right_femur`).

    Returns:
        The names by number, sorted by number. All segment ids differ.

    Raises:
        SchemeError: A number is in no band, or `bones` gives it a bone that its band does not cover.
    """
    given = bones or {}
    found: dict[int, FragmentName] = {}
    counts: dict[str, int] = {}
    for label in sorted({int(label) for label in labels} - {0}):
        band = scheme.bone_of(label)
        bone = given.get(label, band.name)
        if bone not in (band.name, *band.parts):
            raise SchemeError(
                f"label {label} was given the bone '{bone}', but its band of scheme '{scheme.name}' holds "
                f"{' and '.join(band.parts)}; pass the anatomy that the labels were made with"
            )
        number = label - band.first_id + 1
        if bone != band.name:
            number = counts[bone] = counts.get(bone, 0) + 1
        found[label] = FragmentName(
            label=label,
            bone=bone,
            segment_id=f"{_identifier(bone, scheme, band)}_frag{number:02d}",
            display_name=f"{_title(bone, band)}, fragment {number}",
            colour=fragment_colour(scheme, label),
            snomed=_codes(bone, band),
        )
    return found


def _side(bone: str) -> tuple[str, str]:
    """Return side and bone of a name such as `left_hip`; no side for `sacrum`."""
    side, _, rest = bone.partition("_")
    return (side, rest) if side in SIDES and rest else ("", bone)


def _identifier(bone: str, scheme: LabelScheme, band: Bone) -> str:
    """Return a bone's name for file names, with the side last; two bones of a scheme never get the same."""
    plain = _plain(bone)
    others = {_plain(name) for other in scheme.bones if other is not band for name in (other.name, *other.parts)}
    return f"{plain}_{scheme.bones.index(band) + 1}" if plain in others else plain


def _plain(bone: str) -> str:
    side, rest = _side(bone)
    name = f"{rest}_{side}" if side else rest
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-") or "bone"


def _title(bone: str, band: Bone) -> str:
    side, rest = _side(bone)
    if bone == band.name and band.display_name:
        return band.display_name
    title = band.display_name.lower() if rest == band.name else ""
    return f"{side} {title or rest.replace('_', ' ')}".strip().capitalize()


def _codes(bone: str, band: Bone) -> SnomedCodes:
    value, laterality = band.snomed.get("type", BONE.value), band.snomed.get("laterality", "")
    side, _ = _side(bone)
    kind = Code(value, MEANINGS.get(value) or _side(band.name)[1].replace("_", " ").capitalize())
    if not laterality:
        return SnomedCodes(CATEGORY, kind, SIDES.get(side))
    return SnomedCodes(CATEGORY, kind, Code(laterality, MEANINGS.get(laterality) or side.capitalize() or "Side"))
