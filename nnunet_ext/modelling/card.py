"""The model card, written from the records of the stages, so that no number in it is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_ext.modelling.card_parts import (
    changes_between,
    credits_of,
    describe_data,
    describe_training,
    fenced_json,
    number,
    table,
)
from nnunet_ext.modelling.workshop import DATASETS, Workshop

__all__ = ["compose_card", "write_card"]

AIM, LEAST = 0.93, 0.85
"""Mean IoU of fragments: that of the winner of PENGWIN 2024 on real cases, and the least for a model that ships."""

LEAST_DICE = 0.95
"""Mean Dice of each bone, the least for a model that ships."""

STAGES = {"bones, s": "bones", "ABBC, s": "predict", "recovery, s": "recover", "surfaces, s": "surfaces"}
"""Columns of the costs that show single stages, by the names of `run.json`."""

ABOUT = """# Model card: bones and ABBC

Two small networks for `nnunet-abbc`, trained on simulated fractures only.

| model | finds in a CT whose axes run along LPS |
|---|---|
| `bones` | sacrum, hip bones and femora, each side by its own number |
| `abbc` | boundary, core and border of bone fragments, from which `abbc-recover-instances` makes fragments |

**For:** trying the package on the first day, teaching, tests, and as a start for training with cases of your own:
`abbc-plan-finetuning -d ID -w abbc`, then `ABBC_INITIAL_WEIGHTS=abbc nnUNetv2_train ID 3d_fullres 0 -p FineTuningPlans
-tr nnUNetTrainerABBC`. **Not for:** patients. Not a medical device, not for clinical use, not for any decision about a
person. The networks have never seen a real fracture.

```sh
abbc-segment -i CT -o OUT --scheme {scheme}
```

Each is an ordinary nnU-Net model folder: `nnUNetv2_predict_from_modelfolder -m FOLDER -f 0` takes it as it is.
`abbc-predict` reads it without running code that it may hold."""

BETTER = """## A better one

Real cases: `abbc-prepare-dataset` makes nnU-Net datasets of the public ones and of your own, the README's "Train" does
the rest. More simulated ones: `make models` repeats this training from nothing, `abbc-train-models --profile gpu` makes
wider networks from more cases."""


def write_card(
    shop: Workshop, record: Callable[[str], Mapping[str, Any] | None], others: Sequence[Path]
) -> dict[str, Any]:
    """Write `MODEL_CARD.md`, with pictures of the worst test cases beside it.

    Args:
        shop: The folder.
        record: Returns the record of a stage, None if it was never begun.
        others: Other folders of models, for the table of what was tried.

    Returns:
        What it was written from, without the records.

    Raises:
        FractureError: A file cannot be read or written.
    """
    from nnunet_ext.atomic import replacing
    from nnunet_ext.modelling.card_pictures import draw_worst

    names = [f"{stage}-{model}" for stage in ("plan", "train", "test") for model in DATASETS]
    names += ["simulate-training", "simulate-test", "prepare", "pack", "test-real", "cost"]
    records = {name: found for name in names if (found := record(name)) and found["status"] == "done"}
    tried = [_tried(folder) for folder in others]
    pictures = draw_worst(shop, records.get("test-abbc", {}).get("result", {}))
    statistics = _read(shop.cases("training") / "statistics.json")
    text = compose_card(shop.profile.to_dict(), records, tried, statistics, pictures)
    with replacing(shop.folder / "MODEL_CARD.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return {"stages": sorted(records), "tried": len(tried), "pictures": list(pictures)}


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _tried(folder: Path) -> dict[str, Any]:
    """Return what another making of models tells: its name, settings and scores."""
    place = folder / "records"
    card, test, train = (_read(place / f"{name}.json") for name in ("card", "test-abbc", "train-abbc"))
    return {
        "name": folder.name,
        "profile": card.get("settings", {}).get("profile", {}),
        "test": test.get("result", {}),
        "train": train.get("result", {}),
    }


def compose_card(
    profile: Mapping[str, Any],
    records: Mapping[str, Mapping[str, Any]],
    tried: Sequence[Mapping[str, Any]] = (),
    statistics: Mapping[str, Any] | None = None,
    pictures: Mapping[str, str] | None = None,
) -> str:
    """Compose the text of the card.

    Args:
        profile: The settings.
        records: Records of the finished stages, by name.
        tried: Other makings: `name`, `profile`, `test` and `train` of each.
        statistics: Of the simulated training cases.
        pictures: Captions of pictures by file name.

    Returns:
        Markdown.
    """
    results = {name: found["result"] for name, found in records.items()}
    parts = [ABOUT.format(scheme=profile["scheme"])]
    if missing := [f"`{model}`" for model in DATASETS if f"train-{model}" not in results]:
        parts.append(f"**Not trained yet, and not in this folder: {' and '.join(missing)}.**")
    parts.append("## What it was given\n\n" + describe_training(profile, records))
    parts.append("## Data\n\n" + describe_data(profile, results, statistics or {}))
    names = {name for key in ("training", "test") for name in results.get(f"simulate-{key}", {}).get("anatomies", ())}
    if names:
        parts.append("Anatomies, with thanks to their makers:\n\n" + credits_of(sorted(names)))
    if "test-abbc" in results or "test-bones" in results:
        parts.append("## Scores on unseen simulated cases\n\n" + _scores(results))
    if "test-real" in results:
        parts.append("## Scores on real fractured pelves\n\n" + _real_scores(results["test-real"]))
    if tried:
        parts.append("## What was tried\n\n" + _tried_table(profile, results, tried))
    if costs := _costs(results):
        parts.append("## What inference takes\n\n" + costs)
    if "test-abbc" in results:
        parts.append("## Where it fails\n\n" + _failures(results["test-abbc"], pictures or {}))
    parts.append(BETTER)
    versions: Mapping[str, str] = next((found["versions"] for found in reversed(list(records.values()))), {})
    parts.append("## Settings\n\n" + fenced_json({"profile": profile, "versions": versions}))
    return "\n\n".join(parts) + "\n"


def _scores(results: Mapping[str, Any]) -> str:
    parts = []
    if "test-abbc" in results:
        found = results["test-abbc"]
        summary = found["variants"]["default"]["summary"]
        iou = summary["fragment_iou"]["mean"]
        verdict = "reaches the aim" if iou >= AIM else "is enough to ship" if iou >= LEAST else "is below the least"
        parts.append(
            f"Fragments, with the true bones given (`--exact-bones`), {summary['cases']} cases, scored by "
            f"`abbc-evaluate`. The mean IoU of {iou:.3f} {verdict} (aim {AIM}, what the winner of PENGWIN 2024 reached "
            f"on real cases; least {LEAST})."
        )
        parts.append(_variants(found["variants"]))
    if "test-bones" in results:
        summary = results["test-bones"]["summary"]
        low = [name for name, dice in summary["dice"].items() if dice["mean"] < LEAST_DICE]
        verdict = f"below {LEAST_DICE}: {', '.join(low)}" if low else f"all means are {LEAST_DICE} or more"
        parts.append(
            f"Whole bones, {summary['cases']} cases; {verdict}. Bones found as their twin of the other side: "
            f"{summary['swapped']}; largest share of a bone found as its twin: "
            f"{100 * summary['largest_share_found_as_twin']:.2f} %. Cases in which no pelvis was believed, which count "
            f"with a Dice of 0: {len(summary['refused'])}."
        )
        parts += _bones(summary)
    return "\n\n".join(parts)


def _bones(summary: Mapping[str, Any]) -> list[str]:
    rows = [[bone, str(d["cases"]), number(d["mean"]), number(d["min"])] for bone, d in summary["dice"].items()]
    parts = [table(["bone", "cases", "mean Dice", "worst"], rows)]
    if surplus := summary["surplus"]:
        counts = ", ".join(f"{bone} in {count}" for bone, count in surplus.items())
        parts.append(f"Found in cases whose labels have none of it: {counts}.")
    return parts


def _variants(variants: Mapping[str, Any]) -> str:
    return table(
        ["recovery", "mean IoU", "median", "worst case", "F1", "HD95, mm", "merged", "split", "fragments true / found"],
        [[name, *_figures(found["summary"])] for name, found in variants.items()],
    )


def _figures(summary: Mapping[str, Any]) -> list[str]:
    """Return the cells that tell how good fragments are."""
    iou, f1, distance = (summary.get(key, {}) for key in ("fragment_iou", "f1", "fragment_hd95_mm"))
    return [
        *(number(iou.get(key)) for key in ("mean", "median", "min")),
        number(f1.get("mean")),
        number(distance.get("mean"), 1),
        *(str(summary[key]) for key in ("merge_errors", "split_errors")),
        f"{summary['reference_fragments']} / {summary['prediction_fragments']}",
    ]


def _real_scores(found: Mapping[str, Any]) -> str:
    parts = [
        "Three fractured pelves of FracSegNet (github.com/YzzLiu/FracSegNet, MIT), never trained on; how dark the "
        "simulator draws fractures was set after figures of five real cases, these among them. Only the HU inside the "
        f"bones are public; all else was filled with {found['outside_hu']} HU. The true bones are "
        "given as above."
    ]
    if "abbc" in found:
        cases = found["abbc"]["variants"]["default"]["cases"]
        parts.append(_variants(found["abbc"]["variants"]))
        rows = [
            [name, number(c["fragment_iou"]), number(c["f1"]), str(c["merge_errors"]), str(c["split_errors"])]
            for name, c in cases.items()
        ]
        parts.append(table(["case (default)", "IoU", "F1", "merged", "split"], rows))
    if "bones" in found:
        parts += _bones(found["bones"]["summary"])
    return "\n\n".join(parts)


def _tried_table(profile: Mapping[str, Any], results: Mapping[str, Any], tried: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    own = {"name": "this one", "profile": profile, "test": results.get("test-abbc", {})}
    for entry in ({**own, "train": results.get("train-abbc", {})}, *tried):
        changed = changes_between(profile, entry["profile"]) if entry["profile"] else "settings unknown"
        if entry["test"]:
            summary = entry["test"]["variants"]["default"]["summary"]
            figures, patches = _figures(summary), str(entry["train"].get("patches", ""))
            rows.append([entry["name"], changed or "-", patches, str(summary["cases"]), *figures[:4], *figures[5:7]])
    head = ["model", "what differs", "patches seen", "test cases"]
    head += ["mean IoU", "median", "worst case", "F1", "merged", "split"]
    return "Instance scores on the test cases of each, recovery by default:\n\n" + table(head, rows)


def _costs(results: Mapping[str, Any]) -> str:
    rows, keys = [], ("wall_s", "processor_s", "peak_mb")
    for model in DATASETS:
        found = results.get(f"test-{model}")
        if found and (costs := found["costs"]["summary"]):
            cells = [
                f"{costs[k]['mean']:.0f} (at most {costs[k]['max']:.0f})" for k in ("wall_s", "processor_s", "peak_mb")
            ]
            rows.append([f"`{model}`", *cells])
    parts = []
    if rows:
        head = ["model", "wall time, s", "processor time, s", "peak memory, MB"]
        told = (
            "One test case: by `abbc-segment-bones` in a process of its own, loading included; by the second model "
            "with the recoveries of the table above, in the process of the tests; mean and largest:"
        )
        parts.append(f"{told}\n\n{table(head, rows)}")
    found = results.get("cost", {})
    if found.get("runs"):
        size = " x ".join(f"{length:g}" for length in found["view_zyx_mm"])
        told = (
            f"One simulated pelvis of {size} mm (z, y, x) at several voxel sizes by `abbc-segment` with both models, "
            "report and surfaces included:"
        )
        head = ["voxels", "million", "wall time, s", "processor time, s", "peak memory, MB", *STAGES]
        rows = []
        for run in found["runs"]:
            cells = [f"{run['cost'][k]:.0f}" for k in keys]
            cells += [f"{run['stages'].get(stage, 0):.0f}" for stage in STAGES.values()]
            if "refused" in run:  # the true bones were given
                cells[len(keys)] = "refused"
            rows.append([f"{run['spacing_mm']:g} mm", f"{run['voxels'] / 1e6:.1f}", *cells])
        parts.append(f"{told}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def _failures(found: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    cases = found["variants"]["default"]["cases"]
    worst = sorted(cases, key=lambda name: cases[name]["fragment_iou"])[:5]
    rows = [
        [name, number(cases[name]["fragment_iou"]), *(str(cases[name][k]) for k in ("merge_errors", "split_errors"))]
        for name in worst
    ]
    parts = ["The worst of the simulated test cases:", table(["case", "IoU", "merged", "split"], rows)]
    parts += [f"![{caption}]({file})\n\n{caption}" for file, caption in pictures.items()]
    return "\n\n".join(parts)
