"""Fragments to ABBC classes: the default mode, which gives every fragment a core of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cc3d
import fastremap
import numpy as np
from numpy.typing import NDArray

from label_gen.classes import ABBC
from label_gen.contacts import CLEARANCE, NEAR, TOUCHING, find_contacts, reach_of
from label_gen.cores import depth_map, find_core_candidates, smoothing_margin
from label_gen.errors import DataError, UsageError
from label_gen.fallback import core_in_crowd, core_of_thin_piece
from label_gen.grid import Box, bounding_box, canonical_axes, check_label_array, check_spacing, grow_box, place_box
from label_gen.literal import literal_classes
from label_gen.pieces import PieceReport, Pieces, find_pieces, report_pieces
from label_gen.scheme import FREE_SCHEME, LabelScheme
from label_gen.settings import GenerationSettings
from label_gen.walls import build_walls

__all__ = ["GeneratedABBC", "generate_abbc"]


@dataclass(frozen=True)
class GeneratedABBC:
    """ABBC classes of a case and the report on its pieces.

    Attributes:
        abbc: Uint8 classes (z, y, x), numbered by `label_gen.ABBC`.
        pieces: One report per connected piece, by fragment number and size.
        mode: `default` or `literal`.
    """

    abbc: NDArray[np.uint8]
    pieces: tuple[PieceReport, ...]
    mode: str

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain types, without the volume."""
        return {"mode": self.mode, "pieces": [asdict(piece) for piece in self.pieces]}


def generate_abbc(
    labels: NDArray[Any],
    spacing_mm: Sequence[float],
    *,
    scheme: LabelScheme = FREE_SCHEME,
    mode: Literal["default", "literal"] = "default",
    settings: GenerationSettings | None = None,
) -> GeneratedABBC:
    """Turn a volume of bone fragments into the four ABBC classes.

    The default mode guarantees: every fragment has a core, and every 26-connected piece of at least
    `settings.piece_mm3` exactly one 26-connected core; no core touches (26 neighbours) the core of another fragment,
    whatever its bone, unless there is no such choice of cores; a class other than background stands exactly where
    there is bone. The result does not depend on the order of the axes.

    Args:
        labels: Integer fragment numbers (z, y, x), 0 outside bone. They need not be consecutive.
        spacing_mm: Voxel spacing in array order (z, y, x), in millimetres.
        scheme: Which number belongs to which bone; a border stands only between fragments of one bone.
        mode: `default`, or `literal` for the published listing as it stands (see `label_gen.literal`).
        settings: Thresholds of the default mode.

    Returns:
        The classes and a report per piece.

    Raises:
        DataError: `labels` is not a 3D volume of non-negative integers, or holds no fragment.
        SchemeError: A number is in no band of the scheme.
        UsageError: The spacing or the mode is not valid.

    Example:
        >>> import numpy as np
        >>> from label_gen import ABBC, generate_abbc
        >>> labels = np.zeros((20, 20, 40), np.uint8)
        >>> labels[2:18, 2:18, 2:20] = 1
        >>> labels[2:18, 2:18, 20:38] = 2
        >>> abbc = generate_abbc(labels, (0.8, 0.8, 0.8)).abbc
        >>> [ABBC(c).name for c in abbc[10, 10, [0, 2, 10, 19, 20, 29]]]
        ['BACKGROUND', 'BOUNDARY', 'CORE', 'BORDER', 'BORDER', 'CORE']
    """
    check_label_array(labels)
    spacing = check_spacing(spacing_mm)
    if mode not in ("default", "literal"):
        raise UsageError(f"mode must be 'default' or 'literal'. Got: {mode!r}")
    extent = bounding_box(labels)
    if extent is None:
        raise DataError(f"labels hold no fragment: all {labels.size} voxels are 0")
    settings = settings or GenerationSettings()
    # The edge of the volume is no surface of bone, but the edge of the box must not be taken for the volume's.
    box = grow_box(extent, smoothing_margin(spacing, settings), labels.shape)
    ids = fastremap.unique(labels[box])
    ids = ids[ids != 0]
    scheme.check_ids(ids)
    bones = [scheme.bone_of(int(i)).name for i in ids]

    # The literal listing keeps the axes and the whole volume, since its sums depend on both.
    order = (0, 1, 2) if mode == "literal" else canonical_axes(labels[box], spacing)
    spacing = (spacing[order[0]], spacing[order[1]], spacing[order[2]])
    fragments = _compact(labels[box].transpose(order), ids)
    pieces = find_pieces(fragments)
    fragment_boxes: Sequence[Box] = cc3d.statistics(fragments)["bounding_boxes"][1:]
    if mode == "literal":
        whole = np.zeros(labels.shape, fragments.dtype)
        whole[box] = fragments
        result, kept = literal_classes(whole, [place_box(b, box) for b in fragment_boxes], spacing)
        classes = result[box]
        max_depth = np.zeros(len(pieces) + 1, np.float32)
        np.maximum.at(max_depth, pieces.labels, depth_map(pieces.labels, spacing))
        fallbacks = {
            p: "deepest" for p in range(1, len(pieces) + 1) if pieces.fragment[p] in kept and pieces.rank[p] == 1
        }
    else:
        is_candidate, max_depth = find_core_candidates(pieces.labels, spacing, settings)
        zones = find_contacts(fragments, fragment_boxes, bones, spacing, settings)
        is_core, fallbacks = _choose_cores(pieces, is_candidate, zones, spacing, settings)
        layers = max(1, int(reach_of(settings.border_mm, spacing) / min(spacing)))
        is_border = build_walls(pieces, bones, is_core, (zones & NEAR) != 0, spacing, settings.core_mm3, layers)
        classes = np.zeros(fragments.shape, np.uint8)
        classes[fragments != 0] = ABBC.BOUNDARY
        classes[is_border] = ABBC.BORDER
        classes[is_core] = ABBC.CORE
        result = np.zeros(labels.shape, np.uint8)
        result[box] = classes.transpose(np.argsort(order))
    bone_of = {int(i): bone for i, bone in zip(ids, bones, strict=True)}
    reports = report_pieces(pieces, classes, max_depth, fallbacks, ids, bone_of, spacing)
    return GeneratedABBC(result, reports, mode)


def _compact(labels: NDArray[Any], ids: NDArray[Any]) -> NDArray[Any]:
    """Return labels numbered 1 to n in a contiguous array of the smallest unsigned type."""
    dtype = np.min_scalar_type(len(ids) + 1)
    table = {int(i): number for number, i in enumerate(ids, 1)} | {0: 0}
    return np.ascontiguousarray(fastremap.remap(np.ascontiguousarray(labels), table)).astype(dtype)


def _choose_cores(
    pieces: Pieces,
    is_candidate: NDArray[np.bool_],
    zones: NDArray[np.uint8],
    spacing_mm: Sequence[float],
    settings: GenerationSettings,
) -> tuple[NDArray[np.bool_], dict[int, str]]:
    """Return one connected core per piece that needs one, and the fallback used for each other piece."""
    voxel_mm3 = float(np.prod(spacing_mm))
    core_voxels = settings.core_mm3 / voxel_mm3
    needs_core = pieces.need_core(settings.piece_mm3 / voxel_mm3)
    is_candidate &= (zones & (TOUCHING | CLEARANCE)) == 0
    is_core, core_size = _largest_cores(pieces, is_candidate, needs_core)
    fallbacks = {piece: "satellite" for piece in np.flatnonzero(~needs_core).tolist() if piece}
    crowded = []
    for piece in np.flatnonzero(needs_core & (core_size < core_voxels)).tolist():
        box = grow_box(pieces.boxes[piece], 1, pieces.labels.shape)
        is_piece = pieces.labels[box] == piece
        core, name = core_of_thin_piece(is_piece, zones[box], spacing_mm, core_voxels)
        if core is None:
            crowded.append((piece, pieces.boxes[piece]))
        elif core.sum() > core_size[piece]:
            is_core[box] &= ~is_piece
            is_core[box] |= core
            fallbacks[piece] = name
    if crowded:
        fallbacks |= core_in_crowd(crowded, pieces.labels, is_core, core_voxels)
    return is_core, fallbacks


def _largest_cores(
    pieces: Pieces, is_candidate: NDArray[np.bool_], needs_core: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return the largest 26-connected component of the candidates of each piece that needs one, and their sizes."""
    components = cc3d.connected_components(is_candidate.view(np.uint8), connectivity=26)
    voxels = np.flatnonzero(components)
    component = components.ravel()[voxels]
    sizes = np.bincount(component)
    piece_of = np.zeros(len(sizes), np.int64)
    piece_of[component] = pieces.labels.ravel()[voxels]
    largest = np.zeros(len(pieces) + 1, np.int64)
    np.maximum.at(largest, piece_of, sizes)
    chosen = np.zeros(len(sizes), bool)
    seen = set()
    for number in range(1, len(sizes)):
        piece = int(piece_of[number])
        if needs_core[piece] and piece not in seen and sizes[number] == largest[piece]:
            chosen[number] = True
            seen.add(piece)
    is_core = np.zeros(is_candidate.shape, bool)
    is_core.ravel()[voxels[chosen[component]]] = True
    return is_core, largest
