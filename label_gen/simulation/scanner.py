"""What the scanner makes of a body: point spread, reconstruction kernel, correlated noise, slice thickness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, gaussian_filter, uniform_filter1d

from label_gen.simulation.settings import SimulationSettings

__all__ = ["LOWEST_HU", "Scanner"]

LOWEST_HU, HIGHEST_HU = -1024, 3071
"""Range of a CT of 12 bits."""

BONE_KERNEL_SHARE = 0.3
"""Share of the CTs with a bone kernel where the settings say `random`. Source: chosen here."""

STARVED_MM, STREAK_MM = (290.0, 420.0), 24.0
"""Water that rays cross from side to side where streaks begin and where they are strong, and half a streak's length.
Source: chosen here: a slim trunk is 300 mm wide, hips with their bone count for 400."""


@dataclass(frozen=True)
class Scanner:
    """A scanner with its settings.

    Attributes:
        point_spread_mm: Standard deviation of the point spread.
        overshoot: How much of the difference to a smoother image is added at edges (bone kernel), 0 for none.
        noise_hu: Standard deviation of the noise in muscle.
        grain_mm: Standard deviation of the smoothing of the noise, in plane.
        grain_contrast: Share of slow changes that is taken out of the noise, 0 to 1 (bone kernel).
        streak_share: Share of the noise that runs in streaks from hip to hip where the body is thick.
        slice_thickness_mm: Width of the slice profile beyond the distance of the slices, or None.
    """

    point_spread_mm: float
    overshoot: float
    noise_hu: float
    grain_mm: float
    grain_contrast: float
    streak_share: float
    slice_thickness_mm: float | None

    @classmethod
    def draw(cls, rng: np.random.Generator, settings: SimulationSettings) -> Scanner:
        """Draw a scanner that suits the settings."""
        choice, spread, noise, grain, edge, streaks = rng.random(6)
        is_bone = settings.kernel == "bone" or (settings.kernel == "random" and choice < BONE_KERNEL_SHARE)
        drawn_noise = 22.0 + 18.0 * noise if is_bone else 12.0 + 16.0 * noise
        return cls(
            point_spread_mm=float(0.42 + 0.13 * spread if is_bone else 0.55 + 0.25 * spread),
            overshoot=float(0.12 + 0.23 * edge) if is_bone else 0.0,
            noise_hu=float(drawn_noise) if settings.noise_hu is None else settings.noise_hu,
            grain_mm=float(0.35 + 0.15 * grain if is_bone else 0.55 + 0.3 * grain),
            grain_contrast=0.7 if is_bone else 0.0,
            streak_share=float(0.5 * streaks),
            slice_thickness_mm=settings.slice_thickness_mm,
        )

    def sharpness(self, hu: NDArray[np.float32], spacing_mm: Sequence[float]) -> NDArray[np.float32]:
        """Return the image after point spread and kernel, without noise, float32 (z, y, x)."""
        image: NDArray[np.float32] = gaussian_filter(hu, [self.point_spread_mm / s for s in spacing_mm], truncate=3.0)
        if self.overshoot > 0:
            image += np.float32(self.overshoot) * (image - gaussian_filter(image, [1.1 / s for s in spacing_mm]))
        return image

    def noise(
        self, rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: Sequence[float]
    ) -> NDArray[np.float32]:
        """Return noise with a standard deviation of `noise_hu`, float32 (z, y, x)."""
        grain: NDArray[Any] = rng.standard_normal(shape, dtype=np.float32)
        grain = gaussian_filter(grain, [f * self.grain_mm / s for f, s in zip((0.7, 1, 1), spacing_mm, strict=True)])
        if self.grain_contrast > 0:
            grain -= np.float32(self.grain_contrast) * gaussian_filter(
                grain, [2.2 * self.grain_mm / s for s in spacing_mm]
            )
        return grain * np.float32(self.noise_hu / max(float(grain.std()), 1e-6))

    def streaks(
        self, rng: np.random.Generator, hu: NDArray[np.float32], spacing_mm: Sequence[float]
    ) -> NDArray[np.float32]:
        """Return streaks from side to side, where rays from hip to hip leave few photons, float32 (z, y, x).

        Args:
            rng: Source of all randomness.
            hu: Slices without noise.
            spacing_mm: Voxel size in the order z, y, x.
        """
        path_mm = np.maximum(hu + np.float32(1000.0), 0.0).sum(axis=2) * np.float32(spacing_mm[2] / 1000.0)
        starved = np.clip((path_mm - STARVED_MM[0]) / (STARVED_MM[1] - STARVED_MM[0]), 0.0, 1.5)
        strength = 2.0 * self.noise_hu * self.streak_share * starved
        rows: NDArray[Any] = rng.standard_normal(hu.shape, dtype=np.float32)
        width = max(1, round(STREAK_MM / spacing_mm[2]))
        for _ in range(2):
            rows = uniform_filter1d(rows, width, axis=2, mode="wrap")
        rows *= np.float32(np.sqrt(1.5 * width))  # of a triangular mean of independent values
        streaks: NDArray[np.float32] = rows * strength.astype(np.float32)[:, :, None]
        return streaks

    def thickened(self, image: NDArray[np.float32], step_mm: float) -> NDArray[np.float32]:
        """Return the image seen in slices of `slice_thickness_mm` that lie `step_mm` apart."""
        if self.slice_thickness_mm is None or self.slice_thickness_mm <= step_mm:
            return image
        width = self.slice_thickness_mm / step_mm
        half = int(np.ceil((width - 1.0) / 2.0))
        weights = np.clip((width + 1.0) / 2.0 - np.abs(np.arange(-half, half + 1)), 0.0, 1.0)
        thick: NDArray[np.float32] = convolve1d(image, weights / weights.sum(), axis=0, mode="nearest")
        return thick
