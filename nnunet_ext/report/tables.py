"""The tables of a report as HTML: fragments, fractures, measurements, and facts about the run. All text is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nnunet_ext.manifest import without_paths

if TYPE_CHECKING:
    from nnunet_ext.fragment_names import FragmentName

__all__ = ["DOUBTFUL_BELOW", "facts", "fracture_rows", "fragment_rows", "listed", "measurement_rows"]
__all__ += ["rated_interfaces", "shown"]

DOUBTFUL_BELOW = 0.5
"""Confidence below which a fracture is called doubtful. Source: chosen here; from 0.5 on a border counts as seen."""

DASH = "\N{EN DASH}"

LEFT_OUT = {"warnings", "note", "cases"}
"""What of a run's record is not told at the end of the report, because it stands at the top or says nothing there."""


def shown(value: Any, digits: int = 0) -> str:
    """Return a number for people, with thin spaces between thousands; a dash where it is not known.

    Args:
        value: A number, or None.
        digits: Digits behind the point.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        return DASH
    text = f"{value:,.{digits}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return "0" + text[2:] if text.startswith("-0") and not float(f"{value:.{digits}f}") else text


def fragment_rows(statistics: Mapping[str, Any], names: Mapping[int, FragmentName]) -> str:
    """Return the rows of the fragments, each with a switch, its name and its volume."""
    measured = {int(entry["label"]): entry for entry in statistics.get("fragments", ())}
    rows = []
    for number, name in names.items():
        entry = measured.get(number, {})
        title = html.escape(name.display_name)
        rows.append(
            f'<tr data-fragment="{number}"><td><label class="pick"><input type="checkbox" checked>'
            f'<span class="swatch f{number}"></span><span class="away">Show {title}</span></label></td>'
            f'<th scope="row"><button type="button" class="name">{title}</button></th>'
            f'<td class="number">{shown(_times(entry.get("volume_mm3"), 1e-3), 1)}</td>'
            '<td class="live"><button type="button" class="only">Only'
            f'<span class="away"> {title}</span></button></td></tr>'
        )
    return "\n".join(rows)


def fracture_rows(statistics: Mapping[str, Any], names: Mapping[int, FragmentName]) -> str:
    """Return the rows of the fracture interfaces, doubtful ones first, each with a bar of its confidence."""
    rows = []
    for index, entry in enumerate(rated_interfaces(statistics, names)):
        first, second = names[int(entry["first"])], names[int(entry["second"])]
        confidence = entry.get("confidence")
        if confidence is None:
            bar = '<span class="quiet">not rated</span>'
        else:
            share = round(100 * min(max(float(confidence), 0.0), 1.0))
            doubt = ' <span class="doubt">doubtful</span>' if confidence < DOUBTFUL_BELOW else ""
            kind = "low" if confidence < DOUBTFUL_BELOW else "high"
            bar = (
                f'<svg class="bar {kind}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
                f'<rect class="track" width="100" height="8"/><rect class="fill" width="{share}" height="8"/></svg>'
                f'<span class="share">{share} %</span>{doubt}'
            )
        rows.append(
            f'<tr data-fracture="{index}"><th scope="row"><button type="button" class="name">'
            f'<span class="pair"><span class="swatch f{first.label}"></span>'
            f'<span class="swatch f{second.label}"></span></span>'
            f"<span>{html.escape(_both(first.display_name, second.display_name))}</span></button></th>"
            f'<td class="confidence">{bar}</td>'
            f'<td class="number">{shown(_times(entry.get("contact_mm2"), 1e-2), 1)}</td>'
            f'<td class="number">{shown(entry.get("smallest_gap_mm"), 1)}</td></tr>'
        )
    return "\n".join(rows)


def measurement_rows(statistics: Mapping[str, Any], names: Mapping[int, FragmentName]) -> str:
    """Return the rows of all that was measured of the fragments."""
    rows = []
    for entry in statistics.get("fragments", ()):
        name = names.get(int(entry["label"]))
        if name is None:
            continue
        low, high = entry.get("box_lps_mm") or (None, None)
        size = " × ".join(shown(b - a) for a, b in zip(low, high, strict=True)) if low and high else DASH
        place = ", ".join(shown(value, 1) for value in entry.get("centroid_lps_mm") or ()) or DASH
        near = []
        for other in entry.get("neighbours", ()):
            if (neighbour := names.get(int(other["label"]))) is not None:
                area, gap = other.get("contact_mm2"), other.get("smallest_gap_mm")
                how = f"{shown(_times(area, 1e-2), 1)} cm²" if area else f"{shown(gap, 1)} mm apart"
                near.append(f"<li>{html.escape(neighbour.display_name)} ({how})</li>")
        rows.append(
            f'<tr><th scope="row"><span class="swatch f{name.label}"></span>{html.escape(name.display_name)}</th>'
            f'<td class="number">{name.label}</td>'
            f'<td class="number">{shown(_times(entry.get("volume_mm3"), 1e-3), 2)}</td>'
            f'<td class="number">{shown(_times(entry.get("surface_mm2"), 1e-2), 1)}</td>'
            f'<td class="number">{shown(entry.get("mean_hu"))}</td><td class="number">{size}</td>'
            f'<td class="number">{place}</td><td><ul>{"".join(near) or f"<li>{DASH}</li>"}</ul></td></tr>'
        )
    return "\n".join(rows)


def listed(lines: Sequence[Any]) -> str:
    """Return lines as items of a list, without folders of files."""
    return "\n".join(f"<li>{html.escape(without_paths(str(line)))}</li>" for line in lines)


def facts(run: Mapping[str, Any]) -> str:
    """Return the record of a run as groups of terms and values.

    Args:
        run: As `run.json` has it; a mapping in it becomes a group, what is nested deeper one line.
    """
    plain = {key: value for key, value in run.items() if not isinstance(value, Mapping) and key not in LEFT_OUT}
    groups: list[tuple[str, Mapping[str, Any]]] = [("run", plain)] if plain else []
    groups += [(str(key), value) for key, value in run.items() if isinstance(value, Mapping) and value]
    return "\n".join(
        f"<section><h3>{html.escape(_words(title[:1].upper() + title[1:]))}</h3><dl>"
        + "".join(
            f"<div><dt>{html.escape(_words(key))}</dt><dd>{html.escape(without_paths(_said(value)))}</dd></div>"
            for key, value in group.items()
            if key not in LEFT_OUT
        )
        + "</dl></section>"
        for title, group in groups
    )


def rated_interfaces(statistics: Mapping[str, Any], names: Mapping[int, FragmentName]) -> list[Mapping[str, Any]]:
    """Return the interfaces of known fragments, doubtful ones first, those that were not rated last."""
    found = [e for e in statistics.get("interfaces", ()) if int(e["first"]) in names and int(e["second"]) in names]
    return sorted(found, key=lambda entry: 2.0 if entry.get("confidence") is None else float(entry["confidence"]))


def _both(first: str, second: str) -> str:
    """Return two names as one, without saying the bone twice."""
    bone, comma, place = first.rpartition(", ")
    other_bone, _, other_place = second.rpartition(", ")
    if comma and bone == other_bone:
        number = other_place.removeprefix("fragment ")
        return f"{bone}, {place.replace('fragment', 'fragments', 1)} and {number}"
    return f"{first}, and {second}"


def _times(value: Any, factor: float) -> float | None:
    return None if value is None else float(value) * factor


def _words(key: Any) -> str:
    """Return a key as words."""
    return str(key).replace("_", " ").strip()


def _said(value: Any) -> str:
    """Return a value of a record as text."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    if isinstance(value, Mapping):
        return "; ".join(f"{_words(key)} {_said(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_said(item) for item in value) or DASH
    return str(value)
