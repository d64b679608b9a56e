"""Make the cases of a study: a raw nnU-Net dataset of simulated femora or pelves, with a test set of other donors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nnunet_ext.commands._cli import DONE, make_parser, run_command

__all__ = ["main", "make_cases"]

PROG = "abbc-study-cases"
NAMES = {"femora": "SimulatedFemora", "pelves": "SimulatedPelves"}
"""Name of the dataset of each kind."""


def make_cases(
    kind: str,
    number: int,
    *,
    donors: int,
    test_donors: int,
    seed: int = 0,
    spacing_mm: float = 1.0,
    anatomies: str | Path | None = None,
    workers: int = 1,
) -> str:
    """Make a dataset in nnUNet_raw.

    Args:
        kind: `femora`: left and right femur of each donor, two cases; `pelves`: broken pelves, one case each.
        number: Of the dataset.
        donors: People for training.
        test_donors: People for the test.
        seed: Of everything random.
        spacing_mm: Edge of the voxels.
        anatomies: Bone labels to begin from, a volume or a folder; shapes from formulas if None.
        workers: Cases made at the same time.

    Returns:
        The name of the dataset.

    Raises:
        UsageError: A number makes no sense, or no label volume is usable.
        DataError: A case could not be made.
        VolumeFileError: A file cannot be read or written.
    """
    raw = Path(os.environ["nnUNet_raw"])  # noqa: SIM112  # nnU-Net's own name
    name = f"Dataset{number:03d}_{NAMES[kind]}"
    if kind == "femora":
        from nnunet_ext.studies.femora import make_femora

        make_femora(
            raw,
            number,
            donors=donors,
            test_donors=test_donors,
            seed=seed,
            spacing_mm=spacing_mm,
            anatomies=anatomies,
            workers=workers,
        )
        return name
    from label_gen.errors import DataError
    from nnunet_ext.commands.prepare_dataset import prepare_dataset
    from nnunet_ext.commands.simulate_fractures import simulate_fractures_to_files

    cases = raw.parent / "pelves"
    made = simulate_fractures_to_files(
        cases,
        donors + test_donors,
        anatomy=anatomies,
        phantom=anatomies is None,
        seed=1 + 100_000 * seed,
        spacing_mm=(spacing_mm,),
        scheme="pengwin2024",
        workers=workers,
    )
    names = [result.name for result in made.batch.results]
    if made.batch.failed:
        first = made.batch.failed[0]
        raise DataError(f"{len(made.batch.failed)} pelves could not be made, {first.name} first: {first.error}")
    batch = prepare_dataset(
        "simulated", cases, number, task="anatomy", name=NAMES[kind], scheme="pengwin2024", test=names[donors:],
        workers=workers,
    )  # fmt: skip
    if batch.failed:
        raise DataError(f"{batch.failed[0].name}: {batch.failed[0].error}")
    return name


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a command of its own; what `abbc-study` starts.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status.
    """
    parser = make_parser(PROG, "Make the cases of a study in nnUNet_raw.")
    add = parser.add_argument
    add("kind", choices=tuple(NAMES))
    add("-d", dest="number", type=int, required=True, metavar="ID", help="number of the dataset")
    add("--donors", type=int, required=True, metavar="N", help="people for training")
    add("--test-donors", type=int, required=True, metavar="N", help="people for the test")
    add("--seed", type=int, default=0, metavar="N", help="of everything random")
    add("--spacing", dest="spacing_mm", type=float, default=1.0, metavar="MM", help="edge of the voxels")
    add("--anatomies", metavar="LABELS", help="bone labels to begin from, a volume or a folder")
    add("--workers", type=int, default=1, metavar="N", help="cases made at the same time")
    options = vars(parser.parse_args(argv))
    verbose = options.pop("verbose")

    def work() -> int:
        make_cases(options.pop("kind"), options.pop("number"), **options)
        return DONE

    return run_command(PROG, verbose, work)


if __name__ == "__main__":
    sys.exit(main())
