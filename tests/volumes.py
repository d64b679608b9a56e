"""Small label volumes for the tests of the array libraries, and what must hold of every generated case."""

from itertools import permutations

import cc3d
import numpy as np
from hypothesis import strategies as st

from label_gen import ABBC, Bone, LabelScheme

PELVIS = LabelScheme(
    "pelvis",
    (Bone("sacrum", 1, 10), Bone("left_hip", 11, 20), Bone("right_hip", 21, 30)),
    {"sacrum": 1, "left_hip": 2, "right_hip": 3, "left_femur": 4, "right_femur": 5},
)
AXIS_ORDERS = list(permutations(range(3)))
DTYPES = [np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.int16, np.int32, np.int64]
SPACINGS = [(0.8, 0.8, 0.8), (1.5, 0.8, 0.8), (0.5, 0.5, 0.5), (3.0, 1.0, 0.7)]


def box(shape, *boxes, dtype=np.uint8):
    """Return a volume with boxes `(number, (z0, z1), (y0, y1), (x0, x1))` drawn one after the other."""
    labels = np.zeros(shape, dtype)
    for number, *ranges in boxes:
        labels[tuple(slice(*r) for r in ranges)] = number
    return labels


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
def fragment_volumes(draw):
    """Draw a label volume: touching blobs, sheets, single voxels, many fragments, any numbers, any type."""
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
    step = draw(st.sampled_from([1, 1, 3]))
    numbers = np.arange(0, 30 * step, step)
    labels = numbers[labels].astype(dtype)
    if not labels.any():
        labels[0, 0, 0] = 1
    return labels


def check_guarantees(labels, spacing, result, scheme=None):
    """Check everything that the default mode promises about its classes."""
    abbc = result.abbc
    assert abbc.dtype == np.uint8
    assert abbc.shape == labels.shape
    assert ((abbc != ABBC.BACKGROUND) == (labels != 0)).all()
    is_core = abbc == ABBC.CORE
    voxel = float(np.prod(spacing))
    for fragment in np.unique(labels[labels != 0]):
        mask = labels == fragment
        assert (mask & is_core).any(), f"fragment {fragment} has no core"
        pieces = cc3d.connected_components(mask, connectivity=26)
        for piece in range(1, pieces.max() + 1):
            if (pieces == piece).sum() * voxel >= 500:
                cores = cc3d.connected_components(is_core & (pieces == piece), connectivity=26)
                assert cores.max() == 1, f"a piece of fragment {fragment} has {cores.max()} cores"
    if all(piece.fallback != "touching" for piece in result.pieces):
        assert not touching_cores(labels, is_core)
    if scheme is not None:
        is_border = abbc == ABBC.BORDER
        bone = np.array(
            [0] + [scheme.bones.index(scheme.bone_of(i)) + 1 if i <= scheme.last_id else 0 for i in range(1, 256)]
        )[labels]
        for number in range(1, len(scheme.bones) + 1):
            if len(np.unique(labels[bone == number])) == 1:
                assert not (is_border & (bone == number)).any()


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
