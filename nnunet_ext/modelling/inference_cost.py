"""What it takes to go from a CT to fragments with both models, and how that grows with the number of voxels."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from label_gen.errors import DataError
from nnunet_ext.modelling.measuring import run_measured
from nnunet_ext.modelling.prediction import Prediction
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
    """Segment one simulated pelvis at several spacings by `abbc-segment` with both models.

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
        `view_zyx_mm`, and for each of `runs` its `spacing_mm`, `voxels`, `cost` and the seconds of its `stages`; where
        the bones that were found are not plausible, why they were `refused`: the true ones were given then.

    Raises:
        FractureError: A case cannot be made or segmented.
    """
    from nnunet_ext.commands.simulate_fractures import simulate_fractures_to_files
    from nnunet_ext.manifest import without_paths
    from nnunet_ext.training.folders import read_json
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
        with tempfile.TemporaryDirectory(dir=folder) as place:
            arguments: list[str | Path] = ["-i", case.image, "-o", place, "-m", abbc, "-f", "0", "--scheme", scheme]
            arguments += ["-chk", prediction.checkpoint, "-device", prediction.device]
            arguments += ["-step_size", str(prediction.step_size), *(["--mirroring"] if prediction.mirroring else [])]
            refused = ""
            try:
                cost = run_measured("segment", [*arguments, "--bones", bones])
            except DataError as error:  # a model that was hardly trained finds no plausible bones
                refused = without_paths(str(error))
                cost = run_measured("segment", [*arguments, "--bones", case.anatomy, "--overwrite"])
            (note,) = Path(place).glob("*/run.json")
            stages = {entry["stage"]: entry["seconds"] for entry in read_json(note, "segment the case anew")["stages"]}
        voxels = math.prod(read_grid(case.image).shape)
        run = {"spacing_mm": spacing, "voxels": voxels, "cost": asdict(cost), "stages": stages}
        runs.append({**run, "refused": refused} if refused else run)
    return {"view_zyx_mm": list(VIEW_MM), "device": prediction.device, "runs": runs}
