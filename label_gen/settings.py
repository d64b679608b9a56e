"""Settings of the default label generation, all in millimetres."""

from __future__ import annotations

from dataclasses import dataclass, fields

from label_gen.errors import UsageError

__all__ = ["GenerationSettings"]


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """Thresholds that turn fragments into ABBC classes.

    The recipe behind the defaults works in voxels of about 0.8 mm; they are converted to millimetres with that
    reference spacing, so that one anatomy gives the same classes at every spacing.

    Attributes:
        smoothing_mm: Standard deviation of the Gaussian on the distance (2 voxels).
        laplacian_per_mm: Core where the negative Laplacian exceeds this (0.11 per voxel).
        core_depth_mm: Core where the distance to the fragment's surface exceeds this (6 voxels).
        border_mm: Border where another fragment of the same bone begins within this distance, and in any case on
            every voxel that shares a face with one. Chosen here: one voxel on each side at the reference spacing, the
            thinnest wall that holds and the closest round trip (three cut pelves, 50 pieces: losses were a third of
            those with border on the edges and corners of the other fragment too).
        clearance_mm: No core where another fragment of the same bone begins within this distance. Chosen here: the
            border plus one and a half voxels.
        piece_mm3: A connected piece of a fragment of at least this volume gets a core of its own. Chosen here after
            the 2026 challenge, which leaves smaller reference fragments out.
        core_mm3: Smallest core to aim at where the rule gives none (50 voxels, the smallest seed of the recovery).

    Source: reference spacing and thresholds in voxels: PENGWIN 2024 winning method, ABBC recipe.
    """

    smoothing_mm: float = 1.6
    laplacian_per_mm: float = 0.1375
    core_depth_mm: float = 4.8
    border_mm: float = 0.7
    clearance_mm: float = 2.3
    piece_mm3: float = 500.0
    core_mm3: float = 25.6

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not value > 0:
                raise UsageError(f"{item.name} must be positive. Got: {value}")
        if self.clearance_mm < self.border_mm:
            raise UsageError(f"clearance_mm must be at least border_mm. Got: {self.clearance_mm} and {self.border_mm}")

    @classmethod
    def for_mode(cls, mode: str, border_mm: float | None) -> GenerationSettings:
        """Return the defaults with a border of another width, and cores as far from it as by default.

        Args:
            mode: Mode of the label generation; only `default` has a border of any width.
            border_mm: Width on each side of a contact in mm, 0.3 to 5; None for the default.

        Raises:
            UsageError: The width is not possible, or the mode has no width.
        """
        if border_mm is None:
            return cls()
        if mode != "default":
            raise UsageError(f"the width of the border belongs to the default mode. Got: mode '{mode}' and {border_mm}")
        if not 0.3 <= border_mm <= 5.0:
            raise UsageError(f"the border is 0.3 to 5 mm wide on each side of a contact. Got: {border_mm}")
        return cls(border_mm=border_mm, clearance_mm=border_mm + cls.clearance_mm - cls.border_mm)
