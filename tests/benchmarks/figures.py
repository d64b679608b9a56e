"""What is compared with what: one function per figure, from measurements to a section of the table."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """Volumes of a run.

    Attributes:
        small: Shape and spacing of the volume on which the listing runs.
        fragments: Fragments of the volumes where their number is not what is varied.
        large: Shape and spacing of the volume like a whole CT.
        seeds: Seeds of the recovery.
        spacings: Spacings at which the large volume's field of view is made anew.
        counts: Numbers of fragments for growth with their number.
    """

    small: tuple[tuple[int, int, int], float]
    large: tuple[tuple[int, int, int], float]
    fragments: int
    seeds: int
    spacings: tuple[float, ...]
    counts: tuple[int, ...]


FULL = Sizes(((256, 256, 256), 1.25), ((400, 512, 512), 0.8), 13, 27, (1.2, 1.0, 0.8, 0.64), (5, 13, 27))
QUICK = Sizes(((60, 56, 64), 3.0), ((80, 60, 84), 3.0), 5, 5, (3.0, 2.8), (5,))


@dataclass
class Section:
    """One figure: a title, rows of measurements, and what follows from them."""

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    is_equal: bool = True


def generation_against_listing(bench, sizes):
    """(a) Label generation: the default and the literal mode against the listing as published."""
    case = bench.case(*sizes.small, sizes.fragments)
    section = Section(f"(a) label generation against the published listing: {_describe(case)}")
    ours, literal = bench.time("generate", case), bench.time("generate-literal", case)
    listing = bench.time("listing", case, repeat=1)
    section.rows = [listing, literal, ours]
    _ratio(section, "default mode", ours, listing)
    _ratio(section, "literal mode", literal, listing)
    same = bench.compare("voxels", case, "listing", "generate-literal")
    section.is_equal = same["different"] == 0
    verdict = "equals the listing voxel for voxel" if section.is_equal else f"DIFFERS in {same['different']} voxels"
    section.notes.append(f"literal mode {verdict} ({same['voxels']} voxels)")
    return section


def generation_of_a_ct(bench, sizes):
    """(b) Label generation on a volume like a whole CT."""
    case = bench.case(*sizes.large, sizes.fragments)
    section = Section(f"(b) label generation on a whole CT: {_describe(case)}")
    section.rows = [bench.time("generate", case)]
    return section


def recovery_against_marches(bench, sizes):
    """(c) Recovery against one march per seed over the whole volume."""
    case = bench.case(*sizes.large, sizes.seeds)
    section = Section(f"(c) recovery against one march per seed: {_describe(case)}, {case['abbc_cores']} cores")
    ours = bench.time("recover-fmm", case)
    naive = bench.time("recover-naive", case, repeat=1, marches=bench.marches)
    marches = naive.pop("march_s")
    section.rows = [naive, ours]
    rows = {}
    for name, done in marches.items():
        if is_partial := len(done) < case["abbc_cores"]:
            section.notes.append(
                f"{name} pass: {len(done)} of {case['abbc_cores']} marches done, the rest extrapolated"
            )
        scale = case["abbc_cores"] / len(done) if is_partial else 1.0
        cpu, wall = (scale * sum(column) for column in zip(*done, strict=True))
        rows[name] = {"what": f"marches, {name} pass", "cpu_s": cpu, "wall_s": wall}
    total = {key: sum(row[key] for row in rows.values()) for key in ("cpu_s", "wall_s")}
    section.rows[1:1] = rows.values()
    _ratio(section, "all of our recovery against the first pass alone", ours, rows["first"])
    _ratio(section, "all of our recovery against both passes", ours, total)
    if bench.marches is None:
        section.notes.append(_agreement(bench, case, "recover-naive", "recover-fmm"))
        section.notes.append(_agreement(bench, case, "labels", "recover-naive"))
    section.notes.append(_agreement(bench, case, "labels", "recover-fmm"))
    return section


def growth(bench, sizes):
    """(d) How time and memory grow with the volume and with the number of fragments."""
    section = Section("(d) growth with volume and with the number of fragments, same field of view")
    extent = [n * sizes.large[1] for n in sizes.large[0]]
    cases = [([round(length / step) for length in extent], step, sizes.fragments) for step in sizes.spacings]
    cases += [(list(sizes.large[0]), sizes.large[1], count) for count in sizes.counts if count != sizes.fragments]
    for shape, step, count in cases:
        case = bench.case(tuple(shape), step, count)
        for role in ("generate", "recover-fmm"):
            row = bench.time(role, case)
            section.rows.append({**row, "what": f"{role}, {_describe(case)}"})
    return section


def engines(bench, sizes):
    """(e) The two engines of the recovery against each other."""
    case = bench.case(*sizes.large, sizes.seeds)
    section = Section(f"(e) engines of the recovery: {_describe(case)}")
    march, flood = bench.time("recover-fmm", case), bench.time("recover-watershed", case)
    section.rows = [march, flood]
    _ratio(section, "watershed", flood, march)
    section.notes.append(_agreement(bench, case, "recover-fmm", "recover-watershed"))
    section.notes.append(_agreement(bench, case, "labels", "recover-watershed"))
    return section


FIGURES = {
    "listing": generation_against_listing,
    "generation": generation_of_a_ct,
    "recovery": recovery_against_marches,
    "growth": growth,
    "engines": engines,
}
"""By name, as `--only` takes it."""


def _describe(case):
    """Return a case in a few words."""
    shape = case["shape"]
    share = 100 * case["bone_voxels"] / (shape[0] * shape[1] * shape[2])
    return f"{'x'.join(map(str, shape))}, {case['fragments']} fragments, {share:.1f} % bone"


def _ratio(section, name, fast, slow):
    """Note how much faster one side is than the other."""
    cpu, wall = (slow[key] / max(fast[key], 1e-9) for key in ("cpu_s", "wall_s"))
    section.ratios[name] = cpu
    section.notes.append(f"{name}: {cpu:.1f} times faster by processor time, {wall:.1f} by the clock")


def _agreement(bench, case, first, second):
    """Return the agreement of two fragment volumes as a sentence; `labels` are the true fragments."""
    same = bench.compare("fragments", case, first, second)
    names = ["truth" if name == "labels" else name for name in (first, second)]
    return (
        f"{names[0]} ({same['first']} fragments) and {names[1]} ({same['second']}): "
        f"IoU mean {same['mean_iou']:.4f}, smallest {same['min_iou']:.4f}"
    )
