"""One dataset to be made: what its labels are, and which files a case consists of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from label_gen.classes import ABBC
from label_gen.errors import UsageError
from label_gen.scheme import LabelScheme
from nnunet_ext.training.splits import few

__all__ = ["Target", "bones_of_group", "labels_of_task"]


@dataclass(frozen=True)
class Target:
    """One dataset to be made.

    Attributes:
        folder: The dataset's folder in nnUNet_raw.
        task: `abbc`, `anatomy` or `semantic`.
        ending: File ending of all its volumes.
        labels: Written numbers by class name.
        bones: For `abbc` and `anatomy`: names of the bones whose labels are used.
        group: The group that these bones are; empty for all.
    """

    folder: Path
    task: str
    ending: str
    labels: Mapping[str, int]
    bones: tuple[str, ...] = ()
    group: str = ""

    def image(self, case: str, part: str) -> Path:
        """Return the image file of a case; `part` is `Tr` or `Ts`."""
        return self.folder / f"images{part}" / f"{case}_0000{self.ending}"

    def volume(self, kind: str, case: str, part: str) -> Path:
        """Return a label file of a case; `kind` is `labels`, `fragments` or `anatomy`."""
        return self.folder / f"{kind}{part}" / f"{case}{self.ending}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The label volumes of a case."""
        return ("labels", "fragments", "anatomy") if self.task == "abbc" else ("labels",)

    def files(self, case: str, part: str) -> tuple[Path, ...]:
        """Return all files of a case, the image last."""
        return (*(self.volume(kind, case, part) for kind in self.kinds), self.image(case, part))

    def finished(self, part: str) -> tuple[str, ...]:
        """Return the cases that are complete, sorted."""
        folder = self.folder / f"images{part}"
        tail = f"_0000{self.ending}"
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
        cases = [name.removesuffix(tail) for name in names if name.endswith(tail) and not name.startswith(".")]
        return tuple(case for case in cases if self.is_complete(case, part))

    def is_complete(self, case: str, part: str) -> bool:
        """Say whether all files of a case are there."""
        return all(path.exists() for path in self.files(case, part))

    def settle(self, case: str, part: str) -> bool:
        """Move the files that a case has on the other side, training or testing, to this one; say if there were any."""
        other = "Tr" if part == "Ts" else "Ts"
        is_moved = False
        for here, there in zip(reversed(self.files(case, part)), reversed(self.files(case, other)), strict=True):
            if there.exists() or there.is_symlink():
                is_moved = True
                here.parent.mkdir(parents=True, exist_ok=True)
                here.unlink(missing_ok=True)  # renaming one link of a file onto another does nothing
                os.replace(there, here)
        return is_moved


def bones_of_group(
    scheme: LabelScheme,
    groups: Mapping[str, tuple[str, ...]],
    task: str,
    group: str | None,
    has_anatomy: bool = False,
) -> tuple[str, tuple[str, ...]]:
    """Return the bones whose labels a task uses.

    Args:
        scheme: The label scheme.
        groups: Bones that are labelled together, where a case has labels of one group only.
        task: `anatomy` takes the first group if none is chosen: what a case has no labels of must not be taught as
            background. `abbc` takes all bones.
        group: The chosen group, or None.
        has_anatomy: The source has volumes of whole bones: `anatomy` takes all bones of the scheme's anatomy table.

    Returns:
        The group, empty for all bones, and the names of the bones.

    Raises:
        UsageError: There is no such group, or it holds a bone that the scheme has not.
    """
    takes_volumes = has_anatomy and task == "anatomy"
    known = tuple(scheme.anatomy) if takes_volumes else tuple(bone.name for bone in scheme.bones)
    if group is not None and group not in groups:
        raise UsageError(f"there is no group '{group}'; the recipe has {', '.join(groups) or 'none'} (--group)")
    chosen = group or (next(iter(groups), "") if task == "anatomy" else "")
    bones = groups[chosen] if chosen else known
    if strange := [bone for bone in bones if bone not in known]:
        raise UsageError(
            f"group '{chosen}' of the recipe holds {few(strange)}, but scheme '{scheme.name}' has {', '.join(known)}; "
            "choose the scheme that fits (--scheme), or mend the recipe"
        )
    return chosen, tuple(bones)


def labels_of_task(task: str, bones: tuple[str, ...], classes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Return the class names of a dataset with their numbers, consecutive as nnU-Net demands.

    Args:
        task: `abbc`, `anatomy` or `semantic`.
        bones: The bones of an anatomy dataset.
        classes: The classes of a semantic dataset.

    Example:
        >>> labels_of_task("anatomy", ("sacrum", "left_hip"), {})
        {'background': 0, 'sacrum': 1, 'left_hip': 2}
    """
    if task == "abbc":
        return {member.name.lower(): int(member) for member in ABBC}
    names = bones if task == "anatomy" else tuple(classes)
    return {"background": 0, **{name: number for number, name in enumerate(names, 1)}}
