"""However a CT was acquired, turned or stored: the same fragments in the same places, on the same side."""

import math

import numpy as np
import pytest
from scipy import ndimage

import nnunet_ext
from nnunet_ext.grids import Grid
from nnunet_ext.segmentation.frames import resampled
from tests.nnunet_ext.segmentation.phantom import FINE, MODEL_MM, acquired

WORLD_MM = np.array([224.0, 114.0, 105.0])
"""Size of what is seen, x, y, z, round the centre of the world."""


def grid_of(direction, spacing_xyz):
    """Return a grid of these axes whose middle is the centre of the world."""
    direction = np.asarray(direction, float)
    extent = np.abs(direction.T) @ WORLD_MM
    shape = np.floor(extent / spacing_xyz).astype(int)
    origin = -direction @ ((shape - 1) * np.asarray(spacing_xyz) / 2)
    return Grid(
        tuple(int(n) for n in shape[::-1]),
        tuple(float(s) for s in spacing_xyz[::-1]),
        tuple(origin.tolist()),
        tuple(direction.ravel().tolist()),
    )


def rotation(about_z, about_x):
    c, s, d, t = math.cos(about_z), math.sin(about_z), math.cos(about_x), math.sin(about_x)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, d, -t], [0, t, d]])


ISOTROPIC = (1.25, 1.25, 1.25)
VERSIONS = {
    "flipped": (np.diag([-1.0, 1.0, -1.0]), ISOTROPIC),
    "coronal": (np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]), (1.0, 1.0, 1.5)),
    "anisotropic": (np.eye(3), (0.9, 0.9, 1.8)),
    "oblique and mirrored": (rotation(-0.2, 0.3) @ np.diag([-1.0, 1.0, 1.0]), (1.1, 1.1, 1.6)),
}
MESHED = ("coronal", "oblique and mirrored")
"""Versions whose surfaces are made too; the axes of the second are left-handed."""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def road(drawn, model):
    """Run the pipeline on the phantom as a scanner with some axes and spacing sees it."""
    made = {}

    def run(version=""):
        if version not in made:
            grid = grid_of(*VERSIONS.get(version, (np.eye(3), ISOTROPIC)))
            ct, bones = acquired(drawn[0], grid), acquired(drawn[1], grid, order=0)
            made[version] = nnunet_ext.segment(
                ct, bones=bones, model=model, device="cpu", report=False, meshes=version in (*MESHED, "")
            )
        return made[version]

    return run


def mask_of(found, label):
    """Return a fragment on the grid that the phantom was drawn on.

    Voxel faces of two grids lie half a voxel apart however well the grids agree, so the surface is taken where the
    mask, smoothed by 0.9 mm, is a half.
    """
    grid = found.labels.grid
    mask = (found.labels.array == label).astype(np.float32)
    smooth = ndimage.gaussian_filter(mask, [0.9 / step for step in grid.spacing_mm])
    return resampled(smooth, grid, FINE, order=1, dtype=np.float32) > 0.5


def overlaps(found, reference):
    """Return the IoU of every fragment in the places of the patient."""
    pairs = {label: (mask_of(found, label), mask_of(reference, label)) for label in reference.fragments}
    return {label: float((mine & theirs).sum() / (mine | theirs).sum()) for label, (mine, theirs) in pairs.items()}


def middle_of(surface):
    """Return the centre of mass of what a closed surface holds."""
    first, second, third = surface.vertices[surface.faces].transpose(1, 0, 2)
    volumes = (first * np.cross(second, third)).sum(axis=1)
    return (volumes[:, None] * (first + second + third)).sum(axis=0) / (4 * volumes.sum())


def test_the_phantom_is_found(road):
    reference = road()
    assert sorted(reference.fragments) == [1, 51, 52, 101, 102]
    assert {name.bone for name in reference.fragments.values()} == {"sacrum", "left_hip", "right_hip"}
    centres = {row["label"]: row["centroid_lps_mm"] for row in reference.statistics["fragments"]}
    assert centres[51][0] > 50
    assert centres[101][0] < -50
    assert centres[51][2] < centres[52][2]


@pytest.mark.parametrize("version", VERSIONS)
def test_versions_of_one_ct_give_the_same_fragments(version, road):
    reference, found = road(), road(version)
    assert sorted(found.fragments) == sorted(reference.fragments)
    ious = overlaps(found, reference)
    assert min(ious.values()) >= 0.97, ious
    for mine, theirs in zip(found.statistics["fragments"], reference.statistics["fragments"], strict=True):
        assert mine["segment_id"] == theirs["segment_id"]
        assert np.allclose(mine["centroid_lps_mm"], theirs["centroid_lps_mm"], atol=0.3)


@pytest.mark.parametrize("version", MESHED)
def test_surfaces_of_all_versions_coincide(version, road):
    reference, found = road(), road(version)
    for mine, theirs in zip(found.surfaces, reference.surfaces, strict=True):
        assert mine.label == theirs.label
        assert mine.is_outward
        assert mine.is_watertight
        for side in (np.min, np.max):  # corners are as round as the model is coarse
            assert np.allclose(
                side(mine.surface.vertices, axis=0), side(theirs.surface.vertices, axis=0), atol=MODEL_MM
            )
        assert np.allclose(middle_of(mine.surface), middle_of(theirs.surface), atol=0.3)
        assert math.isclose(mine.volume_mm3, theirs.volume_mm3, rel_tol=0.02)
