"""The data loader that looks for borders: some of nnU-Net's foreground patches are centred on a chosen class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

__all__ = ["ClassAwareLoader"]


class ClassAwareLoader(nnUNetDataLoader):
    """nnU-Net's data loader with a share of foreground patches centred on one class.

    nnU-Net centres a third of all patches on foreground, each class of the case with the same chance. A class that
    decides about everything, as border does, may be drawn more often.

    Args:
        *args: As in `nnUNetDataLoader`.
        focus_class: The class (number in the dataset), or None for none.
        focus_share: Of the patches centred on foreground, the share centred on that class where a case has it, 0 to 1.
        **kwargs: As in `nnUNetDataLoader`.
    """

    def __init__(self, *args: Any, focus_class: int | None = None, focus_share: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.focus_class = focus_class
        self.focus_share = focus_share

    def get_bbox(
        self,
        data_shape: Sequence[int],
        force_fg: bool,
        class_locations: Mapping[Any, Any] | None,
        overwrite_class: Any = None,
        verbose: bool = False,
    ) -> tuple[list[int], list[int]]:
        """Return the box of a patch, lower and upper bounds per axis (voxels, may lie outside the case)."""
        if force_fg and overwrite_class is None and self.focus_class is not None and class_locations is not None:
            voxels = class_locations.get(self.focus_class, ())
            if len(voxels) and np.random.uniform() < self.focus_share:
                overwrite_class = self.focus_class
        box: tuple[list[int], list[int]] = super().get_bbox(
            data_shape, force_fg, class_locations, overwrite_class, verbose
        )
        return box
