"""The reduced form of a study: the same cells with tiny networks, few steps and a handful of coarse simulated cases."""

from __future__ import annotations

from dataclasses import replace

from nnunet_ext.studies.study import Cell, DataSettings, Study

__all__ = ["reduce_study"]

SPACING_MM = 3.0
"""Edge of the voxels of the cases, the coarsest that the simulator makes: a femur has some 53 x 30 x 25 voxels."""
PATCH, PATCH_3D = 64, 32
"""Edge of the patches: of slices, so that a slice of a femur is one window; of volumes, to train in no time."""
FEATURES = 4
BLOCKS = 1
EPOCHS, ITERATIONS = 1, 2
SEED = 7
NOTE = "REDUCED FORM: coarse simulated cases, tiny networks and two steps; the scores say nothing about the methods."
"""What is said of such a study in its table."""


def reduce_study(study: Study) -> Study:
    """Return a study whose cells train and predict in seconds on a processor; names and structure are the same.

    Args:
        study: The full study.
    """
    sizes = sorted({cell.cases for cell in study.cells if cell.cases})
    smallest = {"femora": 2, "pelves": 1}[study.data.simulate or "femora"]
    few = {size: smallest + place for place, size in enumerate(sizes)}
    kind = study.data.simulate or "femora"
    needed = max([*few.values(), 2 * smallest])
    data = DataSettings(
        simulate=kind, donors=-(-needed // smallest), test_donors=1, spacing_mm=SPACING_MM, seed=SEED, folds=2
    )
    batches = sorted({cell.batch_size for cell in study.cells if cell.batch_size})
    cells = tuple(_reduced(cell, few, {size: 2 + place for place, size in enumerate(batches)}) for cell in study.cells)
    text = f"{study.description}. {NOTE}"
    return replace(study, description=text, data=data, cells=cells)


def _reduced(cell: Cell, few: dict[int, int], batches: dict[int, int]) -> Cell:
    if not cell.needs_weights:  # where it does, the network is that of the weights
        patch = PATCH_3D if cell.configuration.startswith("3d") else PATCH
        cell = replace(cell, patch_size=patch, base_features=FEATURES, most_blocks=BLOCKS)
    return replace(
        cell,
        batch_size=min(batches[cell.batch_size], 4) if cell.batch_size else 2,
        cases=few[cell.cases] if cell.cases else None,
        epochs=EPOCHS,
        iterations=ITERATIONS,
        folds=("all",) if cell.folds == ("all",) else (0,),
        mirroring=False,
        validation=False,
    )
