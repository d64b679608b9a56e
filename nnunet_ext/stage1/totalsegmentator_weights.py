"""The weights of TotalSegmentator: where they lie, which are needed for the pelvis, and how they get there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from label_gen.errors import VolumeFileError
from nnunet_ext.atomic import check_writable
from nnunet_ext.doctor.totalsegmentator import weights_folder

__all__ = ["FAST", "FINE", "ROUGH", "check_weights", "download_weights", "link_weights"]

FINE = (292, 294)
"""Dataset numbers of the models at 1.5 mm that find the pelvis: 292 sacrum and vertebrae, 294 hip bones and femora.
Source: TotalSegmentator 2.18, `map_to_binary.class_map_5_parts`."""

FAST = (297,)
"""The model at 3 mm."""

ROUGH = (298,)
"""The model at 6 mm, by which it crops whenever a subset of structures is asked for."""

_TASKS = {True: "total_fast", False: "total"}


def _needed(fast: bool) -> tuple[int, ...]:
    """Return the dataset numbers of the models that are run."""
    return (*(FAST if fast else FINE), *ROUGH)


def check_weights(*, fast: bool) -> dict[int, Path]:
    """Return the folder of each model that is run.

    Args:
        fast: At 3 mm.

    Raises:
        VolumeFileError: One is missing. The message names folder, datasets and cure.
    """
    names = _folder_names(_needed(fast))
    place = weights_folder()
    missing = [name for name in names.values() if not _is_there(place / name)]
    if missing:
        with_task = f"totalseg_download_weights -t {_TASKS[fast]}"
        raise VolumeFileError(
            f"TotalSegmentator's weights are missing in '{place}': {', '.join(missing)}. With internet: run "
            f"'{with_task}', or say --download-weights; without: copy these folders from another machine to there, or "
            "elsewhere and export TOTALSEG_WEIGHTS_PATH=FOLDER. Or take --bones bundled"
        )
    return {number: place / name for number, name in names.items()}


def link_weights(view: Path, folders: dict[int, Path]) -> None:
    """Fill a folder with links to models, as which TotalSegmentator takes it.

    It neither downloads into it nor clears old models out of the user's own, both of which it does unasked: for models
    of the task that are not run, an empty folder stands.

    Args:
        view: The folder, which is made.
        folders: Folder of each model, by number.
    """
    view.mkdir()
    for number, name in _folder_names(_all_parts()).items():
        if number in folders:
            (view / name).symlink_to(folders[number].resolve(), target_is_directory=True)
        else:
            (view / name).mkdir()


def download_weights(*, fast: bool) -> None:
    """Download the models that are run and missing, by TotalSegmentator's code; each appears whole or not at all.

    Args:
        fast: At 3 mm.

    Raises:
        VolumeFileError: It did not work out.
    """
    from totalsegmentator.libs import download_pretrained_weights

    place = weights_folder()
    missing = {number: name for number, name in _folder_names(_needed(fast)).items() if not _is_there(place / name)}
    if not missing:
        return
    check_writable(place / "weights")
    before = os.environ.get("TOTALSEG_WEIGHTS_PATH")
    with tempfile.TemporaryDirectory(prefix=".abbc-", dir=place) as folder:
        try:
            os.environ["TOTALSEG_WEIGHTS_PATH"] = folder
            for number, name in missing.items():
                download_pretrained_weights(number)
                shutil.rmtree(place / name, ignore_errors=True)
                (Path(folder) / name).rename(place / name)
        except Exception as error:  # requests, zipfile and the file system have each their own
            raise VolumeFileError(
                f"TotalSegmentator's weights cannot be downloaded to '{place}': {error}; check the connection, or copy "
                f"{', '.join(missing.values())} there from another machine"
            ) from error
        finally:
            if before is None:
                os.environ.pop("TOTALSEG_WEIGHTS_PATH", None)
            else:
                os.environ["TOTALSEG_WEIGHTS_PATH"] = before


def _is_there(folder: Path) -> bool:
    return any(folder.glob("*/fold_0/checkpoint_final.pth"))


def _all_parts() -> tuple[int, ...]:
    return (291, 292, 293, 294, 295, *FAST, *ROUGH)


def _folder_names(numbers: Sequence[int]) -> dict[int, str]:
    """Return the names of the models' folders, which TotalSegmentator knows."""
    from totalsegmentator.map_tasks_config import TASK_ID_WEIGHTS_CONFIGS

    return {number: str(TASK_ID_WEIGHTS_CONFIGS[number]["foldername"]) for number in numbers}
