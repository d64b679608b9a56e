"""The statistics of a set of fragment labels as a table, files and a picture, beside those of real cases."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from label_gen.errors import DataError
from label_gen.scheme import LabelScheme
from label_gen.simulation.statistics import (
    PERCENTILES,
    TARGETS,
    FragmentFigures,
    SetStatistics,
    measure_fragments,
    summarise_fragments,
)
from nnunet_ext.atomic import write_csv, write_json
from nnunet_ext.batch import CaseResult
from nnunet_ext.simulation.plots import draw_statistics
from nnunet_ext.training.splits import few
from nnunet_ext.volumes import check_same_grid, naming, read_labels

__all__ = ["Report", "describe_shortfall", "format_statistics", "measure_labels", "read_record", "read_report"]
__all__ += ["report_of", "write_report"]

NAMES = {0: "smallest", 5: "5th percentile", 50: "median", 95: "95th percentile", 100: "largest"}


@dataclass(frozen=True)
class Report:
    """The statistics of a set.

    Attributes:
        statistics: Of all cases together.
        cases: The fragments of each case by its name.
    """

    statistics: SetStatistics
    cases: Mapping[str, Sequence[FragmentFigures]]


def report_of(
    cases: Mapping[str, Sequence[FragmentFigures]], kinds: Mapping[str, Mapping[str, int]] | None = None
) -> Report:
    """Sum up the figures of some cases.

    Args:
        cases: The fragments of each case by its name.
        kinds: Number of fractures by kind, of each case where that is known.
    """
    return Report(summarise_fragments(list(cases.values()), list((kinds or {}).values())), dict(cases))


def read_report(folder: Path) -> Report | None:
    """Sum up the records of all finished cases in a folder of simulated patients.

    Args:
        folder: The folder, with `motions/CASE.json` in it.

    Returns:
        The report; None if no case is finished.
    """
    cases: dict[str, Sequence[FragmentFigures]] = {}
    kinds: dict[str, Mapping[str, int]] = {}
    for path in sorted((folder / "motions").glob("*.json")):
        record = None if path.name.startswith(".") else read_record(path)
        if record is not None:
            cases[path.stem], kinds[path.stem] = record
    return report_of(cases, kinds) if cases else None


def read_record(path: Path) -> tuple[tuple[FragmentFigures, ...], Mapping[str, int]] | None:
    """Read the figures of the fragments of a case, and how many fractures of each kind it has.

    Args:
        path: The record.

    Returns:
        None if there is no such file, or no record in it.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        names = FragmentFigures.__dataclass_fields__
        figures = tuple(FragmentFigures(**{name: found[name] for name in names}) for found in record["fragments"])
        return figures, Counter(str(fracture["kind"]) for fracture in record["fractures"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def measure_labels(*, labels: Path, scheme: LabelScheme, anatomy: Path | None = None) -> dict[str, Any]:
    """Measure the fragments of one label volume.

    Args:
        labels: The file.
        scheme: Scheme of the numbers.
        anatomy: Volume of whole bones, which tells the sides of a band that covers both; passed over if missing.

    Returns:
        The fragments as plain dictionaries, under `fragments`.

    Raises:
        VolumeFileError: The file cannot be read.
        DataError: It holds no fragments, or numbers outside the scheme.
    """
    volume = read_labels(labels, allow_empty=False)
    if volume.array.dtype.itemsize > 2:
        raise DataError(f"'{labels}' holds numbers above 65535; are these fragments of scheme '{scheme.name}'?")
    bones = None
    if anatomy is not None and anatomy.exists():
        whole = read_labels(anatomy)
        check_same_grid(volume.grid, whole.grid, str(labels), str(anatomy))
        bones = whole.array
    with naming(labels):
        figures = measure_fragments(volume.array, volume.spacing_mm, scheme, bones)
    return {"fragments": [asdict(figure) for figure in figures]}


def format_statistics(statistics: SetStatistics) -> str:
    """Return the statistics as a table, with those of real cases beside them.

    Args:
        statistics: Of a set.
    """
    real = TARGETS
    counts = list(statistics.per_case)
    rows = [
        ("", f"{statistics.cases} cases", f"{real.cases} real cases"),
        (f"fragments of {', '.join(statistics.bones)}", str(statistics.fragments), str(real.fragments)),
        ("a case has", f"{min(counts)}-{max(counts)}", "{}-{}".format(*real.range_per_case)),
        ("a case has on average", f"{statistics.mean_per_case:.2f}", f"{real.mean_per_case:.2f}"),
        ("a bone has at most", str(max(map(len, statistics.shares.values()), default=0)), str(real.most_per_bone)),
    ]
    for bone, shares in statistics.shares.items():
        name = f"{bone}: % with a 1st, 2nd, ..."
        rows.append((name, _percent(shares), _percent(real.shares.get(bone, ()))))
    for rank in PERCENTILES:
        here, there = (_cm3(values.get(rank)) for values in (statistics.minor_mm3, real.minor_mm3))
        rows.append((f"minor fragments, cm3: {NAMES[rank]}", here, there))
    touching = "-" if statistics.contact_share is None else f"{100 * statistics.contact_share:.0f}"
    if statistics.contact_shares:
        low, high = min(statistics.contact_shares), max(statistics.contact_shares)
        touching += f" (cases {100 * low:.0f}-{100 * high:.0f})"
    low, high = real.contact_range
    rows.append(("% of near surface that touches", touching, f"cases {100 * low:.0f}-{100 * high:.0f}"))
    for kind, share in statistics.kind_shares.items():
        rows.append((f"fractures: % {kind}", f"{100 * share:.0f}", "-"))
    if statistics.cracks is not None:
        rows.append(("incomplete cracks in a case", f"{statistics.cracks / statistics.cases:.2f}", "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{first:<{widths[0]}}  {here:<{widths[1]}}  {there}".rstrip() for first, here, there in rows)


def _percent(shares: Sequence[float]) -> str:
    return " ".join(f"{100 * share:.0f}" for share in shares) or "-"


def _cm3(volume: float | None) -> str:
    return "-" if volume is None else f"{volume / 1000:.2g}" if volume < 10_000 else f"{volume / 1000:.0f}"


def describe_shortfall(results: Sequence[CaseResult]) -> Iterator[str]:
    """Yield notes on cases in which bones have fewer fragments than were asked for.

    Args:
        results: What came of the cases, see `nnunet_ext.simulation.case.simulate_case`.
    """
    for key, said in (("absent", "without a bone that was to break"), ("fewer", "with fewer fragments than asked for")):
        cases = [f"{case.name} ({', '.join(case.details[key])})" for case in results if case.details.get(key)]
        if cases:
            yield f"cases {said}: {few(cases)}"


def write_report(report: Report, folder: Path) -> None:
    """Write `statistics.json`, `statistics.csv` (one row per fragment) and the picture `statistics.png`.

    Args:
        report: The report.
        folder: Where they go.

    Raises:
        VolumeFileError: A file cannot be written.
    """
    content = {"this_set": report.statistics.to_dict(), "real_cases": TARGETS.to_dict()}
    write_json(folder / "statistics.json", content)
    rows = [{"case": name, **asdict(figure)} for name, figures in report.cases.items() for figure in figures]
    write_csv(folder / "statistics.csv", rows)
    draw_statistics(folder / "statistics.png", report.statistics)
