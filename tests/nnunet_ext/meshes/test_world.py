"""Surfaces in the patient's coordinates: same place and same side whatever the grid."""

import numpy as np
import pytest

from nnunet_ext.meshes import make_meshes
from nnunet_ext.meshes.world import to_world
from nnunet_ext.volumes import Volume
from postproc.surfaces import Surface
from postproc.surfaces.stored import round_to_float32

SPACING = (1.5, 0.8, 0.9)
FLIP_X = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def test_vertices_go_through_spacing_direction_and_origin(oblique):
    volume = Volume(np.zeros((2, 2, 2), np.uint8), SPACING, (10.0, -20.0, 30.0), oblique)
    surface = Surface(np.array([[0.9, 0.8, 3.0]]), np.zeros((0, 3), np.int32))
    expected = np.reshape(oblique, (3, 3)) @ [0.9, 0.8, 3.0] + [10.0, -20.0, 30.0]
    np.testing.assert_allclose(to_world(surface, volume).vertices[0], expected)


def test_oblique_and_mirrored_grids_give_the_same_bodies(labels, oblique):
    straight = Volume(labels, SPACING, (5.0, 6.0, 7.0))
    mirrored = Volume(
        np.ascontiguousarray(labels[:, :, ::-1]), SPACING, (5.0 + 0.9 * (labels.shape[2] - 1), 6.0, 7.0), FLIP_X
    )
    turned = Volume(labels, SPACING, (5.0, 6.0, 7.0), oblique)
    found = [make_meshes(volume, smoothing=5) for volume in (straight, mirrored, turned)]
    for one, other, third in zip(*found, strict=True):
        assert one.label == other.label == third.label
        for fragment in (one, other, third):
            assert fragment.is_watertight
            assert fragment.is_manifold
            assert fragment.is_outward
            assert abs(fragment.volume_error) < 0.01
            np.testing.assert_array_equal(fragment.surface.vertices, fragment.surface.vertices.astype(np.float32))
            assert len(round_to_float32(fragment.surface).vertices) == len(fragment.surface.vertices)
        np.testing.assert_allclose(one.surface.vertices.min(axis=0), other.surface.vertices.min(axis=0), atol=0.1)
        np.testing.assert_allclose(one.surface.vertices.max(axis=0), other.surface.vertices.max(axis=0), atol=0.1)
        assert one.surface.volume_mm3 == pytest.approx(third.surface.volume_mm3, rel=1e-3)
        back = (third.surface.vertices - [5.0, 6.0, 7.0]) @ np.reshape(oblique, (3, 3)) + [5.0, 6.0, 7.0]
        np.testing.assert_allclose(back.max(axis=0), one.surface.vertices.max(axis=0), atol=0.1)


def test_bodies_lie_where_their_voxels_lie(labels):
    fragments = {f.label: f.surface for f in make_meshes(Volume(labels, SPACING, (-100.0, 20.0, 5.0)))}
    for label, surface in fragments.items():
        middle = np.argwhere(labels == label).mean(axis=0)[::-1] * SPACING[::-1] + [-100.0, 20.0, 5.0]
        np.testing.assert_allclose((surface.vertices.min(axis=0) + surface.vertices.max(axis=0)) / 2, middle, atol=0.2)


def test_far_from_the_origin_surfaces_stay_sound(labels):
    for fragment in make_meshes(Volume(labels, SPACING, (20000.0, -30000.0, 9000.0))):
        assert fragment.is_manifold
        assert fragment.is_outward
