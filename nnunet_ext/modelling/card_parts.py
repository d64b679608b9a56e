"""Pieces of the model card: tables, credits, and sentences about data and training."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from label_gen.errors import DataError
from nnunet_ext.package_data import data_folder

__all__ = [
    "changes_between",
    "credits_of",
    "describe_data",
    "describe_log",
    "describe_training",
    "fenced_json",
    "number",
    "table",
]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table.

    Args:
        head: Names of the columns.
        rows: Cells.

    Example:
        >>> print(table(["a", "b"], [["1", "2"]]))
        | a | b |
        |---|---|
        | 1 | 2 |
    """
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure as text; `-` if there is none.

    Args:
        value: The figure.
        digits: Behind the point.
    """
    return "-" if value is None else f"{value:.{digits}f}"


def fenced_json(content: Mapping[str, Any]) -> str:
    """Return JSON as a block of code.

    Args:
        content: Plain types.
    """
    return f"```json\n{json.dumps(content, indent=1)}\n```"


def changes_between(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return in words which settings of another profile differ, by section and key.

    Args:
        one: A profile.
        other: The other.

    Example:
        >>> changes_between({"abbc": {"epochs": 9}}, {"abbc": {"epochs": 5}})
        'abbc.epochs 5 (9)'
    """
    told = []
    for key, value in one.items():
        there = other.get(key)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            told += [f"{key}.{name} {there.get(name)} ({old})" for name, old in value.items() if there.get(name) != old]
        elif there != value and key not in ("name", "description"):
            told.append(f"{key} {there} ({value})")
    return ", ".join(told)


def credits_of(names: Sequence[str]) -> str:
    """Return a table of where anatomies come from, and their licences.

    Args:
        names: Names of the anatomies.

    Raises:
        DataError: The file of credits is wrong.
    """
    file = data_folder("training") / "credits.toml"
    try:
        known = tomllib.loads(file.read_text(encoding="utf-8"))["anatomies"]
        rows = []
        for name in names:
            entry = next((entry for entry in known if fnmatchcase(name, entry["match"])), None)
            told = [entry["source"], entry["licence"], entry["changes"]] if entry else ["not in credits.toml", "?", "?"]
            rows.append([f"`{name}`", *told])
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"'{file.name}' of the training profiles is wrong ({error}); install the package anew"
        ) from error
    return table(["anatomy", "source", "licence", "changes"], rows)


def describe_training(profile: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what the networks are and what their training was given.

    Args:
        profile: The settings.
        records: Records of the finished stages, by name.
    """
    rows, logs = [], []
    for model in ("bones", "abbc"):
        plan, train = (records.get(f"{stage}-{model}", {}).get("result") for stage in ("plan", "train"))
        if not plan or not train:
            continue
        packed = records.get("pack", {}).get("result", {}).get(model, {})
        curves = train["curves"]
        logs.append(describe_log(model, train))
        rows.append([
            f"`{model}`",
            f"{plan['network']} {'-'.join(map(str, plan['features']))}",
            f"{packed.get('parameters', 0) / 1e6:.1f} million, {packed.get('bytes', 0) / 1e6:.1f} MB",
            f"{plan['spacing'][0]:g} mm",
            "x".join(str(edge) for edge in plan["patch_size"][: 3 if model == "abbc" else 2]),
            f"{train['epochs']} epochs, {train['steps']} steps, {train['patches']} patches",
            f"{train['seconds_in_epochs'] / 3600:.1f} h",
            f"{curves['train_losses'][0]:.2f} to {curves['train_losses'][-1]:.2f}",
            number(max(curves["ema_fg_dice"])),
        ])  # fmt: skip
    if not rows:
        return "Nothing yet."
    device = {"cpu": "processor cores", "cuda": "a graphics card"}.get(profile["device"], profile["device"])
    head = [
        "model",
        "network",
        "weights",
        "voxels",
        "patch",
        "training",
        "time",
        "loss, first to last",
        "best mean Dice",
    ]
    note = "The time is that of the epochs; the Dice is nnU-Net's moving average over patches of the validation cases."
    told = f"Profile `{profile['name']}` ({profile['description']}), trained on {device}."
    return "\n\n".join([told, table(head, rows), note, *logs])


def describe_log(model: str, train: Mapping[str, Any], most: int = 11) -> str:
    """Return a table of the losses and Dice of a training at some of its epochs, the first and the last among them.

    Args:
        model: Its name.
        train: The result of its stage: `epochs`, and `curves` with a value for each epoch.
        most: Columns at most.
    """
    epochs, curves = train["epochs"], train["curves"]
    columns = min(most, epochs)
    shown = sorted({round(column * (epochs - 1) / max(1, columns - 1)) for column in range(columns)})
    names = {"train_losses": "training loss", "val_losses": "validation loss", "ema_fg_dice": "mean Dice"}
    rows = [[told, *(f"{curves[key][epoch]:.2f}" for epoch in shown)] for key, told in names.items()]
    return table([f"`{model}`, epoch", *(str(epoch + 1) for epoch in shown)], rows)


def describe_data(profile: Mapping[str, Any], results: Mapping[str, Any], statistics: Mapping[str, Any]) -> str:
    """Return what the networks were trained and tested on.

    Args:
        profile: The settings.
        results: Results of the finished stages, by name.
        statistics: Of the training cases, as `abbc-simulate-fractures` writes them.
    """
    plan, told = profile["simulation"], []
    for kind, spacing in (("training", plan["spacing_mm"]), ("test", plan["test_spacing_mm"])):
        found = results.get(f"simulate-{kind}")
        if found:
            phantoms = sum(name.startswith("phantom_") for name in found["cases"])
            given = (
                f", {len(found['cases']) - phantoms} of {len(found['anatomies'])} given anatomies"
                if found["anatomies"]
                else ""
            )
            told.append(
                f"- {kind}: {len(found['cases'])} cases at {spacing:g} mm; {phantoms} of parametric pelves{given}"
            )
    both = [set(results.get(f"simulate-{kind}", {}).get("anatomies", ())) for kind in ("training", "test")]
    shared = "No anatomy is in both." if not both[0] & both[1] else f"In both: {', '.join(sorted(both[0] & both[1]))}."
    ways = ", ".join(f"{key} {plan[key]:g}" for key in ("closed", "opened", "displaced", "impacted"))
    text = [
        f"All cases were made by `abbc-simulate-fractures` (weights of fractures: {ways}; seeds from {plan['seed']} "
        f"and, for the test, from {plan['test_seed']}). {shared}",
        "\n".join(told),
    ]
    if statistics:
        own, real = statistics["this_set"], statistics["real_cases"]
        rows = [
            ["fragments of a case, mean", number(own["mean_per_case"], 2), number(real["mean_per_case"], 2)],
            ["volume of minor fragments, median, cm3", *(_cm3(part["minor_mm3"].get("50")) for part in (own, real))],
        ]
        text.append(table(["", "training cases", f"{real['cases']} real cases"], rows))
    return "\n\n".join(text)


def _cm3(volume_mm3: float | None) -> str:
    return number(None if volume_mm3 is None else volume_mm3 / 1000, 1)
