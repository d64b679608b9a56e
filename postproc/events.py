"""What the recovery did beside the ordinary: one record per decision that a user may want to check."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Event"]

MEANINGS = {
    "seeds dropped": "core components below the smallest seed were taken for noise",
    "small seed kept": "a part of the bone had only a core below the smallest seed, which was kept",
    "no core": "a part of the bone had no core and became a fragment as a whole",
    "split": "a fragment was cut along border inside it",
    "merged": "two touching fragments without border between them became one",
    "small merged": "a fragment below the smallest size was merged into its neighbour",
    "island joined": "bone that no seed reaches was given to the nearest fragment of its bone",
    "outside anatomy": "bone outside the anatomy was given to the bone next to it",
    "outside dropped": "bone outside the anatomy and away from it was left out",
    "bone dropped": "bone of a kind that has no band in the scheme was left out",
    "anatomy vote": "patches of one bone that are part of another were given to that one",
    "empty bone": "the anatomy has the bone, the classes show none of it",
    "beyond band": "fragments beyond what the scheme's band holds, the smallest ones, were left out",
    "cut": "the fragment reaches the edge of the volume: its bone is cut by the field of view",
}
"""The kinds of event and what each means."""


@dataclass(frozen=True)
class Event:
    """One decision of the recovery.

    Attributes:
        kind: One of `MEANINGS`.
        bone: Bone that it concerns, or empty.
        volume_mm3: Volume that it concerns.
        count: How many components or fragments.
    """

    kind: str
    bone: str
    volume_mm3: float
    count: int = 1

    def __str__(self) -> str:
        where = f"{self.bone}: " if self.bone else ""
        return f"{where}{MEANINGS[self.kind]} ({self.count}, {self.volume_mm3:.0f} mm3)"
