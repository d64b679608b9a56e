"""Small label volumes for the tests of the array libraries, and what must hold of every generated case."""

from itertools import permutations

import cc3d
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from scipy import ndimage

from label_gen import ABBC, FREE_SCHEME, Bone, GenerationSettings, LabelScheme

PELVIS = LabelScheme(
    "pelvis",
    (Bone("sacrum", 1, 10), Bone("left_hip", 11, 20), Bone("right_hip", 21, 30)),
    {"sacrum": 1, "left_hip": 2, "right_hip": 3, "left_femur": 4, "right_femur": 5},
)
AXIS_ORDERS = list(permutations(range(3)))
DTYPES = [np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.int16, np.int32, np.int64]
SPACINGS = [(0.8, 0.8, 0.8), (1.5, 0.8, 0.8), (0.5, 0.5, 0.5), (3.0, 1.0, 0.7)]
MILLIMETRE = (1.0, 1.0, 1.0)


def fixed(max_examples):
    """Return hypothesis settings under which every run tries the same examples, however slow the machine is."""
    return settings(
        max_examples=max_examples, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
    )


def box(shape, *boxes, dtype=np.uint8):
    """Return a volume with boxes `(number, (z0, z1), (y0, y1), (x0, x1))` drawn one after the other."""
    labels = np.zeros(shape, dtype)
    for number, *ranges in boxes:
        labels[tuple(slice(*r) for r in ranges)] = number
    return labels


def bar(*parts, across=12, length=None):
    """Return a bar along x, `across` voxels wide, of parts `(number, (x0, x1))`, with two empty layers round it."""
    shape = (across + 4, across + 4, (length or max(x[1] for _, x in parts)) + 2)
    side = (2, across + 2)
    return box(shape, *((number, side, side, x) for number, x in parts))


def bar_classes(bone, cores=(), borders=(), across=12):
    """Return ABBC classes of a bar along x: bone from x0 to x1, with cores and border at the given ranges of x.

    Cores keep two voxels from the sides of the bar; border fills its whole width.
    """
    classes = bar((ABBC.BOUNDARY, bone), across=across)
    for x in cores:
        classes[4:across, 4:across, slice(*x)] = ABBC.CORE
    for x in borders:
        classes[2 : across + 2, 2 : across + 2, slice(*x)] = ABBC.BORDER
    return classes


def one_hot(classes, dtype=np.float32):
    """Return classes as probabilities (4, z, y, x), all 0 or 1."""
    return np.stack([classes == c for c in ABBC]).astype(dtype)


def ball(shape, centre, radius, number=1):
    """Return a volume with one ball."""
    grid = np.indices(shape).astype(float)
    distance = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
    return np.where(distance <= radius**2, number, 0).astype(np.uint8)


def cells(rng, mask, n):
    """Return a mask cut into n parts by the nearest of n random voxels in it."""
    voxels = np.argwhere(mask)
    n = min(n, len(voxels))
    centres = voxels[rng.choice(len(voxels), n, replace=False)]
    nearest = ((voxels[:, None, :] - centres[None]) ** 2).sum(-1).argmin(1)
    labels = np.zeros(mask.shape, np.int64)
    labels[tuple(voxels.T)] = nearest + 1
    return labels


@st.composite
def fragment_volumes(draw, steps=(1, 1, 3)):
    """Draw a label volume: touching blobs, sheets, single voxels, many fragments, any numbers, any type.

    Args:
        draw: Given by hypothesis.
        steps: Distances between consecutive fragment numbers to choose from; with 1 all numbers are below 30.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["blobs", "sheets", "voxels", "crowd", "apart"]))
    shape = tuple(draw(st.integers(8, 26)) for _ in range(3))
    labels = np.zeros(shape, np.int64)
    if kind == "sheets":
        axis, thickness = draw(st.integers(0, 2)), draw(st.integers(1, 3))
        count = draw(st.integers(1, 4))
        view = np.moveaxis(labels, axis, 0)
        start = 1
        for number in range(1, count + 1):
            view[start : start + thickness, 1:-1, 1:-1] = number
            start += thickness + draw(st.sampled_from([0, 0, 1, 3]))
    else:
        centre = [n / 2 for n in shape]
        grid = np.indices(shape).astype(float)
        mask = sum(((g - c) / (0.48 * n)) ** 2 for g, c, n in zip(grid, centre, shape, strict=True)) < 1
        labels = cells(rng, mask, {"blobs": draw(st.integers(1, 6)), "crowd": 23}.get(kind, 3))
        if kind == "voxels":
            for number in range(4, 4 + draw(st.integers(1, 3))):
                labels[tuple(rng.integers(0, n) for n in shape)] = number
        if kind == "apart":
            labels[:, shape[1] // 2] = 0
    dtype = draw(st.sampled_from(DTYPES))
    step = draw(st.sampled_from(steps))
    numbers = np.arange(0, 30 * step, step)
    labels = numbers[labels].astype(dtype)
    if not labels.any():
        labels[0, 0, 0] = 1
    return labels


def check_guarantees(labels, spacing, result, scheme=FREE_SCHEME):
    """Check everything that the default mode promises about its classes."""
    abbc = result.abbc
    assert abbc.dtype == np.uint8
    assert abbc.shape == labels.shape
    assert ((abbc != ABBC.BACKGROUND) == (labels != 0)).all()
    is_core = abbc == ABBC.CORE
    voxel = float(np.prod(spacing))
    reports = {(report.fragment_id, report.piece): report for report in result.pieces}
    n_pieces = 0
    for fragment in np.unique(labels[labels != 0]).tolist():
        mask = labels == fragment
        assert (mask & is_core).any(), f"fragment {fragment} has no core"
        pieces = cc3d.connected_components(mask, connectivity=26)
        n_pieces += int(pieces.max())
        sizes = sorted(np.bincount(pieces[pieces > 0])[1:].tolist(), reverse=True)
        for rank, size in enumerate(sizes, 1):
            report = reports[fragment, rank]
            assert report.volume_mm3 == round(size * voxel, 3)
            assert (report.fallback == "satellite") == (rank > 1 and size * voxel < 500 - 1e-6)
            assert (report.fallback == "satellite") == (report.core_voxels == 0)
        assert sum(reports[fragment, r].core_voxels for r in range(1, len(sizes) + 1)) == (mask & is_core).sum()
        for piece in range(1, pieces.max() + 1):
            cores = cc3d.connected_components(is_core & (pieces == piece), connectivity=26)
            if (pieces == piece).sum() * voxel >= 500:
                assert cores.max() == 1, f"a piece of fragment {fragment} has {cores.max()} cores"
            assert cores.max() <= 1
    assert len(result.pieces) == n_pieces
    is_apart = all(piece.fallback != "touching" for piece in result.pieces)
    assert is_apart == (not touching_cores(labels, is_core))
    check_border(labels, spacing, abbc, scheme, is_apart)


def check_border(labels, spacing, abbc, scheme, is_apart=True):
    """Check that border stands near another fragment of the same bone only, and on every face between two of them."""
    is_border = abbc == ABBC.BORDER
    reach = max(
        GenerationSettings().border_mm + 0.5 * float(np.prod(spacing)) ** (1 / 3), float(np.linalg.norm(spacing))
    )
    bone = np.zeros(labels.shape, int)
    for number, item in enumerate(scheme.bones, 1):
        bone[(labels >= item.first_id) & (labels <= item.last_id)] = number
    for fragment in np.unique(labels[is_border]).tolist():
        mine = labels == fragment
        others = (bone == bone[mine][0]) & ~mine
        assert others.any(), f"fragment {fragment} is alone in its bone and has border"
        distance = ndimage.distance_transform_edt(~others, sampling=spacing)
        assert distance[mine & is_border].max() <= reach + 1e-3
    for axis in range(3):
        first, second = (np.moveaxis(v, axis, 0) for v in (labels, bone))
        open_ = np.moveaxis(~is_border, axis, 0)
        shared = (first[1:] != first[:-1]) & (second[1:] == second[:-1]) & (first[1:] != 0) & (first[:-1] != 0)
        if is_apart:
            assert not (shared & open_[1:] & open_[:-1]).any(), "two fragments meet on a face without border"


def touching_cores(labels, is_core):
    """Return pairs of fragments whose cores are 26-neighbours."""
    cores = np.pad(np.where(is_core, labels, 0), 1)
    inner = cores[1:-1, 1:-1, 1:-1]
    pairs = set()
    for dz in (-1, 0, 1):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                moved = np.roll(cores, (dz, dy, dx), (0, 1, 2))[1:-1, 1:-1, 1:-1]
                hit = (inner != 0) & (moved != 0) & (inner != moved)
                pairs |= set(zip(inner[hit].tolist(), moved[hit].tolist(), strict=True))
    return pairs


def anatomy_of(labels, scheme):
    """Return the anatomy number of every voxel's bone."""
    anatomy = np.zeros(labels.shape, np.uint8)
    for bone in scheme.bones:
        anatomy[(labels >= bone.first_id) & (labels <= bone.last_id)] = scheme.anatomy[bone.parts[0]]
    return anatomy


def iou(first, second):
    """Return the intersection over union of two masks."""
    return (first & second).sum() / (first | second).sum()


def best_ious(truth, recovered):
    """Return for each fragment of the truth the best intersection over union with a recovered fragment."""
    found = [recovered == number for number in np.unique(recovered[recovered != 0])]
    return {
        int(number): max((iou(truth == number, mask) for mask in found), default=0.0)
        for number in np.unique(truth[truth != 0])
    }
