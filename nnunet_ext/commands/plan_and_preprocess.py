"""`abbc-plan-and-preprocess`: nnU-Net's planning and preprocessing with our planners, under nnU-Net's flags."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nnunet_ext.commands._cli import DONE, make_parser, run_command

__all__ = ["main"]

PROG = "abbc-plan-and-preprocess"

DESCRIPTION = """Extract the fingerprint, plan and preprocess as nnUNetv2_plan_and_preprocess does, with the planners
ABBCPlannerM, ABBCPlannerL, ABBCPlannerXL (plans ABBCPlansM, ABBCPlansL, ABBCPlansXL) and TriPlanarPlanner (plans
TriPlanarPlans, configuration triplanar) beside nnU-Net's own."""


def _spacing(text: str) -> str | float:
    if text in ("median", "finest"):
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither median nor finest nor a length in mm") from None


def _make_parser() -> argparse.ArgumentParser:
    parser = make_parser(PROG, DESCRIPTION)
    add = parser.add_argument
    add("-d", nargs="+", type=int, required=True, metavar="ID", help="dataset IDs")
    add("-pl", default="ABBCPlannerM", metavar="PLANNER", help="class name of the planner, ours or nnU-Net's")
    add("-fpe", default="DatasetFingerprintExtractor", metavar="NAME", help="class name of the fingerprint extractor")
    add("-npfp", type=int, default=8, metavar="N", help="processes for the fingerprint, at most one per core")
    add("-fingerprint_voxels", type=int, metavar="N", help="voxels drawn for the statistics of intensities; nnU-Net "
        "draws 100 million, however small the dataset")  # fmt: skip
    add("--verify_dataset_integrity", action="store_true", help="let nnU-Net check the dataset first")
    add("--no_pp", action="store_true", help="plan, do not preprocess")
    add("--clean", action="store_true", help="make an existing fingerprint anew; needed after changes to the dataset")
    add("-gpu_memory_target", type=float, metavar="GB", help="GPU memory to plan for")
    add("-preprocessor_name", default="DefaultPreprocessor", metavar="NAME", help="class name of the preprocessor")
    add("-overwrite_target_spacing", type=float, nargs=3, metavar="MM", help="spacing of 3d_fullres")
    add("-overwrite_plans_name", metavar="NAME", help="name of the plans")
    add("-c", nargs="+", metavar="CONFIG", help="configurations to preprocess (3d_fullres; triplanar)")
    add("-np", type=int, nargs="+", metavar="N", help="processes for preprocessing, one number or one per -c")
    add("--no_pbar", action="store_true", help="no progress bars")
    ours = parser.add_argument_group("settings of our planners, for small machines and special cases")
    add = ours.add_argument
    add(
        "-patch_size",
        type=int,
        nargs="+",
        metavar="N",
        help="edges of the patch: 1 or 3 for ABBC, 1 for triplanar (128)",
    )
    add("-batch_size", type=int, metavar="N", help="patches per batch; triplanar: within 30 to 100 unless given")
    add("-base_features", type=int, metavar="N", help="feature maps of the first stage (32)")
    add("-most_blocks", type=int, metavar="N", help="upper limit of the blocks per stage of the encoder")
    add("-network", choices=("plain", "resenc"), default="plain", help="network of triplanar")
    add("-orientations", nargs="+", default=None, metavar="NAME", help="of triplanar: axial, coronal, sagittal")
    add("--no_mirroring", action="store_true", help="triplanar neither mirrors nor transposes")
    add("-spacing", type=_spacing, default="median", metavar="RULE", help="of triplanar: median, finest, or mm")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments; those of the process by default.

    Returns:
        The exit status.
    """
    options = _make_parser().parse_args(argv)

    def work() -> int:
        from nnunet_ext.planning.run import plan_and_preprocess
        from nnunet_ext.planning.settings import PlanSettings

        settings = PlanSettings(
            patch_size=None if options.patch_size is None else tuple(options.patch_size),
            batch_size=options.batch_size,
            base_features=options.base_features,
            most_blocks=options.most_blocks,
            network=options.network,
            orientations=PlanSettings.orientations if options.orientations is None else tuple(options.orientations),
            mirroring=not options.no_mirroring,
            spacing=options.spacing,
        )
        name = plan_and_preprocess(
            options.d,
            planner=options.pl,
            settings=settings,
            configurations=options.c,
            fingerprint_extractor=options.fpe,
            fingerprint_processes=options.npfp,
            fingerprint_voxels=options.fingerprint_voxels,
            processes=options.np,
            verify_dataset_integrity=options.verify_dataset_integrity,
            clean=options.clean,
            gpu_memory_target=options.gpu_memory_target,
            preprocessor_name=options.preprocessor_name,
            overwrite_target_spacing=options.overwrite_target_spacing,
            overwrite_plans_name=options.overwrite_plans_name,
            preprocess=not options.no_pp,
            verbose=options.verbose,
            progress=not options.no_pbar,
        )
        print(f"{PROG}: train with -p {name}", file=sys.stderr)
        return DONE

    return run_command(PROG, options.verbose, work)


if __name__ == "__main__":
    sys.exit(main())
