"""Rules for the classes of a segmentation: how probable, how large, touching what, how many, and without holes.

What Ekman 2025 states: a probability threshold per class; all objects are filled and those below 0.1 mL removed; some
classes keep their n largest objects (26-connectivity) or those that touch another class. Chosen here: the order below,
since the paper gives none, and what happens where rules meet.

1. Threshold, with probabilities only. A voxel belongs to the class whose probability reaches its threshold; where
   several do, to the most probable of them, and among equals to the smaller number. A class without a rule has the
   voxels where it is the most probable of all, background included, as nnU-Net decides.
2. Fill. Background enclosed by a class and in contact with it becomes that class; other classes inside stay. Where two
   classes enclose the same background, the smaller number takes it.
3. Drop objects below the smallest volume, then those that do not touch the class that they must touch, then all but
   the n largest. A class comes after the one that it must touch, so that it is measured against what is left of that
   one, and an outlier that touches nothing does not push out the true object by its size.
4. Fill once more where objects were dropped: a speck inside an object leaves no hole.

So all rules hold of the result, and applying them again to it changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from label_gen.errors import DataError, UsageError
from label_gen.grid import Box, bounding_box, check_label_array, check_spacing, enclose, place_box
from postproc.class_thresholds import decide_classes
from postproc.objects import are_largest, are_touching, drop_objects, fill_holes, find_objects

__all__ = ["ClassReport", "ClassRule", "RuledClasses", "apply_class_rules", "check_rules"]

LARGEST_NUMBER = 65535


@dataclass(frozen=True)
class ClassRule:
    """What is asked of the objects of one class; an object is a 26-connected component.

    Attributes:
        name: The class.
        threshold: Probability, above 0 and up to 1, from which a voxel belongs to the class.
        n_largest: How many objects there are at most; None for any number.
        touch: Name of the class that each object must have a 26-neighbour in; None for none.
        fill: Fill the holes.
        min_volume_mm3: Objects below this volume are dropped. Source: Ekman 2025, Post processing (0.1 mL).
    """

    name: str
    threshold: float = 0.5
    n_largest: int | None = None
    touch: str | None = None
    fill: bool = True
    min_volume_mm3: float = 100.0

    def __post_init__(self) -> None:
        where = f"rule for class '{self.name}'"
        if not isinstance(self.name, str) or not self.name:
            raise UsageError(f"a rule needs the name of a class. Got: {self.name!r}")
        if not _is_number(self.threshold) or not 0 < self.threshold <= 1:
            raise UsageError(f"{where}: threshold must be above 0 and at most 1 (50 % is 0.5). Got: {self.threshold!r}")
        if self.n_largest is not None and (type(self.n_largest) is not int or self.n_largest < 1):
            raise UsageError(f"{where}: n_largest must be a whole number from 1 upward. Got: {self.n_largest!r}")
        if self.touch is not None and (not isinstance(self.touch, str) or self.touch in ("", self.name)):
            raise UsageError(f"{where}: touch must be the name of another class. Got: {self.touch!r}")
        if type(self.fill) is not bool:
            raise UsageError(f"{where}: fill must be true or false. Got: {self.fill!r}")
        if not _is_number(self.min_volume_mm3) or not 0 <= self.min_volume_mm3 < math.inf:
            raise UsageError(f"{where}: min_volume_mm3 must be 0 or more. Got: {self.min_volume_mm3!r}")


@dataclass(frozen=True)
class ClassReport:
    """What the rule of one class did.

    Attributes:
        name: The class.
        number: Its number.
        threshold: The threshold that was applied; None where there were no probabilities to apply it to.
        before_mm3: Volume of the class after the threshold.
        after_mm3: Volume in the result.
        kept_objects: Objects that were kept.
        small_objects: Objects dropped since they were below the smallest volume.
        small_mm3: Their volume.
        apart_objects: Objects dropped since they did not touch what they must touch.
        apart_mm3: Their volume.
        surplus_objects: Objects dropped since there were larger ones enough.
        surplus_mm3: Their volume.
        filled_mm3: Volume of the holes that were filled.
    """

    name: str
    number: int
    threshold: float | None
    before_mm3: float = 0.0
    after_mm3: float = 0.0
    kept_objects: int = 0
    small_objects: int = 0
    small_mm3: float = 0.0
    apart_objects: int = 0
    apart_mm3: float = 0.0
    surplus_objects: int = 0
    surplus_mm3: float = 0.0
    filled_mm3: float = 0.0

    def __str__(self) -> str:
        parts = [f"{self.kept_objects} object(s) kept ({self.after_mm3:.0f} mm3)"]
        for kind, what in (("small", "too small"), ("apart", "apart"), ("surplus", "too many")):
            if count := getattr(self, f"{kind}_objects"):
                parts.append(f"{count} {what} ({getattr(self, f'{kind}_mm3'):.0f} mm3)")
        if self.filled_mm3:
            parts.append(f"{self.filled_mm3:.0f} mm3 filled")
        return f"{self.name}: {', '.join(parts)}"


@dataclass(frozen=True)
class RuledClasses:
    """A segmentation that keeps the rules.

    Attributes:
        labels: Class numbers (z, y, x), in the smallest unsigned type that holds them.
        reports: What was done, one per rule, by class number.
    """

    labels: NDArray[Any]
    reports: tuple[ClassReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the reports as plain values, volumes rounded to 0.001 mm3."""
        rows = [asdict(report) for report in self.reports]
        return {"classes": [{k: round(v, 3) if k.endswith("_mm3") else v for k, v in row.items()} for row in rows]}


def apply_class_rules(
    classes: NDArray[Any], spacing_mm: Sequence[float], rules: Iterable[ClassRule], numbers: Mapping[str, int]
) -> RuledClasses:
    """Apply rules to the classes of a segmentation or of probabilities; the module says in which order.

    Permuting the axes permutes the result, and the order of the rules changes nothing. Among objects of equal size the
    choice depends on the content alone; only where a class is its own mirror image does the axis order decide.

    Args:
        classes: Integer class numbers (z, y, x), or float probabilities 0 to 1 (class, z, y, x), the channel being the
            class number and 0 the background. Thresholds do not apply to class numbers. Not changed.
        spacing_mm: Spacing in array order (z, y, x), in millimetres.
        rules: At most one per class. Classes without a rule stay as they are.
        numbers: Number of each class by name, for every name in the rules.

    Returns:
        The segmentation and what was done.

    Raises:
        DataError: The array is no segmentation and no probabilities, or has no channel for a class.
        UsageError: A rule names a class that has no number, two rules have the same class, or classes must touch each
            other in a circle.

    Source: Ekman et al. 2025, Post processing and Table 4; see the module for what was chosen here.

    Examples:
        >>> labels = np.zeros((8, 8, 20), np.uint8)
        >>> labels[1:7, 1:7, 1:7] = 1
        >>> labels[3, 3, 3] = 0
        >>> labels[4, 4, 15:18] = 1
        >>> ruled = apply_class_rules(labels, (1.0, 1.0, 1.0), [ClassRule("bone", n_largest=1)], {"bone": 1})
        >>> print(ruled.reports[0])
        bone: 1 object(s) kept (216 mm3), 1 too small (3 mm3), 1 mm3 filled
    """
    voxel_mm3 = math.prod(check_spacing(spacing_mm))
    by_number = _by_number(rules, numbers)
    has_probabilities = isinstance(classes, np.ndarray) and classes.dtype.kind == "f"
    if has_probabilities:
        labels = decide_classes(classes, {number: rule.threshold for number, rule in by_number.items()})
    else:
        labels = _copy(classes)
    boxes: dict[int, Box] = {}
    for name in {name for rule in by_number.values() for name in (rule.name, rule.touch) if name}:
        if (box := bounding_box(labels == numbers[name])) is not None:
            boxes[numbers[name]] = box
    before = {n: int(np.count_nonzero(labels[boxes[n]] == n)) if n in boxes else 0 for n in by_number}
    filled = {number: _fill(labels, number, rule, boxes) for number, rule in by_number.items()}
    found = {}
    for number in _in_order(by_number, numbers):
        target = numbers.get(by_number[number].touch or "", 0)
        found[number] = _keep(labels, number, by_number[number], target, boxes, spacing_mm)
    has_dropped = any(kind != "kept" and objects for kinds in found.values() for kind, (objects, _) in kinds.items())
    reports = []
    for number, rule in by_number.items():
        refilled = _fill(labels, number, rule, boxes) if has_dropped else 0
        details: dict[str, Any] = {f"{kind}_objects": objects for kind, (objects, _) in found[number].items()}
        details |= {f"{kind}_mm3": n * voxel_mm3 for kind, (_, n) in found[number].items() if kind != "kept"}
        reports.append(
            ClassReport(
                rule.name,
                number,
                rule.threshold if has_probabilities else None,
                before_mm3=before[number] * voxel_mm3,
                after_mm3=(found[number]["kept"][1] + refilled) * voxel_mm3,
                filled_mm3=(filled[number] + refilled) * voxel_mm3,
                **details,
            )
        )
    return RuledClasses(labels, tuple(reports))


def check_rules(rules: Iterable[ClassRule], numbers: Mapping[str, int]) -> None:
    """Check that rules fit the classes, as `apply_class_rules` does.

    Args:
        rules: The rules.
        numbers: Number of each class by name.

    Raises:
        UsageError: As for `apply_class_rules`.
    """
    _in_order(_by_number(rules, numbers), numbers)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _by_number(rules: Iterable[ClassRule], numbers: Mapping[str, int]) -> dict[int, ClassRule]:
    """Return the rules by class number, in rising order, checked against the classes."""
    known = ", ".join(f"{name} {number}" for name, number in numbers.items()) or "none"
    found: dict[int, ClassRule] = {}
    for rule in rules:
        for name in filter(None, (rule.name, rule.touch)):
            if name not in numbers:
                what = "is for" if name == rule.name else f"for class '{rule.name}' demands contact with"
                raise UsageError(f"a rule {what} class '{name}', which has no number; classes are {known}")
            if type(numbers[name]) is not int or not 1 <= numbers[name] <= LARGEST_NUMBER:
                raise UsageError(
                    f"class '{name}' has the number {numbers[name]!r}; classes with rules have whole numbers from 1 to "
                    f"{LARGEST_NUMBER} (0 is the background)"
                )
        number = numbers[rule.name]
        if rule.touch is not None and numbers[rule.touch] == number:
            raise UsageError(f"classes '{rule.name}' and '{rule.touch}' have the same number {number}")
        if number in found:
            raise UsageError(f"class {number} has two rules, '{found[number].name}' and '{rule.name}'; leave one out")
        found[number] = rule
    return dict(sorted(found.items()))


def _in_order(by_number: Mapping[int, ClassRule], numbers: Mapping[str, int]) -> list[int]:
    """Return the class numbers so that each comes after the one that it must touch."""
    order: list[int] = []
    waiting = list(by_number)
    while waiting:
        ready = [n for n in waiting if numbers.get(by_number[n].touch or "", 0) not in waiting]
        if not ready:
            names = ", ".join(f"'{by_number[n].name}'" for n in waiting)
            raise UsageError(f"the rules for {names} demand contact in a circle; take 'touch' out of one of them")
        order += ready
        waiting = [n for n in waiting if n not in ready]
    return order


def _copy(classes: NDArray[Any]) -> NDArray[Any]:
    """Return class numbers in the smallest unsigned type that holds them, checked."""
    check_label_array(classes, "classes")
    largest = int(classes.max())
    if largest > LARGEST_NUMBER:
        raise DataError(f"class numbers up to {LARGEST_NUMBER} are expected. Got: {largest}")
    return classes.astype(np.min_scalar_type(largest))


def _fill(labels: NDArray[Any], number: int, rule: ClassRule, boxes: Mapping[int, Box]) -> int:
    """Fill the holes of a class if its rule says so; return how many voxels."""
    return fill_holes(labels, number, boxes[number]) if rule.fill and number in boxes else 0


def _keep(
    labels: NDArray[Any],
    number: int,
    rule: ClassRule,
    target: int,
    boxes: dict[int, Box],
    spacing_mm: Sequence[float],
) -> dict[str, tuple[int, int]]:
    """Drop the objects that break the rule of a class; return how many objects and voxels were kept and dropped.

    The box of the class shrinks to what is left.
    """
    if number not in boxes:
        return {"kept": (0, 0)}
    objects = find_objects(labels, number, boxes[number])
    is_left = np.arange(len(objects.sizes)) > 0
    found = {}

    def keep(is_kept: NDArray[np.bool_], kind: str) -> None:
        """Note what of the objects left is not kept, and leave it out."""
        sizes = objects.sizes[is_left & ~is_kept]
        found[kind] = (len(sizes), int(sizes.sum()))
        is_left[:] &= is_kept

    smallest = rule.min_volume_mm3 / math.prod(spacing_mm) - 1e-6  # in voxels; 1e-6 for rounding
    keep(objects.sizes >= smallest, "small")
    if rule.touch is not None and target in boxes:
        keep(are_touching(objects, labels, target, boxes[target]), "apart")
    elif rule.touch is not None:
        keep(np.zeros_like(is_left), "apart")
    if rule.n_largest is not None:
        keep(are_largest(objects, is_left, rule.n_largest, spacing_mm), "surplus")
    drop_objects(labels, objects, is_left)
    left = [objects.boxes[k] for k in np.flatnonzero(is_left).tolist()]
    if left:
        boxes[number] = place_box(enclose(left), objects.box)
    else:
        del boxes[number]
    found["kept"] = (int(is_left.sum()), int(objects.sizes[is_left].sum()))
    return found
