"""What it takes to go from a CT to fragments with both models, and how that grows with the number of voxels."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from label_gen.errors import DataError
from nnunet_ext.modelling.measuring import run_measured
from nnunet_ext.modelling.prediction import Prediction, predict_measured
from nnunet_ext.modelling.trial_cases import find_trial_cases

__all__ = ["VIEW_MM", "measure_inference"]

VIEW_MM = (300.0, 250.0, 350.0)
"""Size of the pelvis in the order z, y, x."""


def measure_inference(
    bones: str | Path,
    abbc: str | Path,
    output: str | Path,
    *,
    spacings_mm: Sequence[float],
    prediction: Prediction = Prediction(),  # noqa: B008, frozen
    scheme: str = "pengwin2024",
    seed: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Predict one simulated pelvis at several spacings by both models, and recover its fragments.

    Args:
        bones: Model folder of the bones, or its name.
        abbc: Model folder of the ABBC classes, or its name.
        output: Folder for the cases; files of earlier runs are used.
        spacings_mm: Edges of the voxels.
        prediction: How to predict.
        scheme: Scheme of the fragments.
        seed: Of the pelvis; at every spacing it is the same patient.
        say: Called with a line about each step.

    Returns:
        `view_zyx_mm`, and for each of `runs` its `spacing_mm`, `voxels`, and the cost of `bones`, `abbc` and `recover`.

    Raises:
        FractureError: A case cannot be made, predicted or recovered.
    """
    from nnunet_ext.commands.simulate_fractures import simulate_fractures_to_files
    from nnunet_ext.volumes import read_grid

    runs = []
    for spacing in spacings_mm:
        say(f"measuring inference at {spacing:g} mm")
        folder = Path(output) / f"{spacing:g}mm"
        made = simulate_fractures_to_files(
            folder, 1, phantom=True, seed=seed, spacing_mm=(spacing,), field_of_view_mm=VIEW_MM, scheme=scheme
        )
        for failed in made.batch.failed:
            raise DataError(f"the pelvis to measure could not be simulated: {failed.error}")
        (case,) = find_trial_cases(folder)
        nz, ny, nx = read_grid(case.image).shape
        run: dict[str, Any] = {"spacing_mm": spacing, "voxels": nz * ny * nx}
        with tempfile.TemporaryDirectory(dir=folder) as place:
            found = {name: Path(place) / name for name in ("bones", "abbc")}
            run["bones"] = asdict(predict_measured(bones, case, found["bones"], prediction))
            run["abbc"] = asdict(predict_measured(abbc, case, found["abbc"], prediction, probabilities=True))
            arguments: list[str | Path] = ["-i", found["abbc"] / f"{case.name}.npz", "-a", case.anatomy]
            arguments += ["-o", Path(place) / "out", "--scheme", scheme]
            run["recover"] = asdict(run_measured("recover_instances", arguments))
        runs.append(run)
    return {"view_zyx_mm": list(VIEW_MM), "device": prediction.device, "runs": runs}
