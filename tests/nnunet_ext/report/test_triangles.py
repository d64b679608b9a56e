"""Meshes for the page: what is packed comes back, outward and closed; too many triangles become fewer."""

import zlib

import numpy as np
import pytest
from skimage.measure import marching_cubes

from nnunet_ext.report.triangles import coarsen, pack_meshes


def ball(radius=9.0, centre=(0.0, 0.0, 0.0)):
    z, y, x = np.indices((24, 24, 24)) - 11.5
    vertices, faces, _, _ = marching_cubes(radius - np.sqrt(x**2 + y**2 + z**2), 0.0)
    vertices = vertices[:, ::-1] - 11.5 + np.array(centre)
    return vertices, (faces if volume_of(vertices, faces) > 0 else faces[:, ::-1]).astype(np.int32)


def volume_of(vertices, faces):
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def unpack(packed):
    """Read packed meshes as the page does."""
    data, at, meshes = np.frombuffer(zlib.decompress(packed.data), np.uint8), 0, []

    def planes(count, width):
        nonlocal at
        values = sum(data[at + k * count : at + (k + 1) * count].astype(np.int64) << (8 * k) for k in range(width))
        at += width * count
        return values

    for n_vertices, n_faces in packed.counts:
        folded = np.stack([planes(n_vertices, 3) for _ in range(3)], axis=1)
        points = np.cumsum((folded >> 1) ^ -(folded & 1), axis=0) * packed.step_mm + packed.low_mm
        first, second, third = (planes(n_faces, 4) for _ in range(3))
        corner = np.cumsum(first)
        meshes.append((points, np.stack([corner, corner + second, corner + third], axis=1)))
    assert at == len(data)
    return meshes


def test_what_is_packed_comes_back():
    balls = [ball(9.0), ball(5.0, (40.0, -7.0, 3.0))]
    packed = pack_meshes(balls)
    for (vertices, faces), (points, corners) in zip(balls, unpack(packed), strict=True):
        assert len(corners) == len(faces)
        assert volume_of(points, corners) == pytest.approx(volume_of(vertices, faces), rel=1e-3)
        before, after = vertices[faces].mean(axis=1), points[corners].mean(axis=1)
        assert np.abs(before[:, None] - after[None, ::50]).max(axis=-1).min(axis=0).max() <= packed.step_mm
    assert len(packed.data) < 5 * sum(len(faces) for _, faces in balls)


def test_large_extent_is_rounded_more():
    vertices, faces = ball()
    (points, _), _ = unpack(pack_meshes([(vertices, faces), (vertices + 5000.0, faces)]))
    assert np.abs(np.sort(points[:, 0]) - np.sort(vertices[np.unique(faces), 0])).max() < 0.1


def test_no_mesh_and_empty_mesh():
    assert unpack(pack_meshes([])) == []
    empty = (np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    packed = pack_meshes([empty, ball()])
    assert packed.counts[0] == (0, 0)
    assert len(unpack(packed)[1][1]) == len(ball()[1])


def test_coarsening():
    balls = [ball(9.0), ball(5.0)]
    assert coarsen(balls, 10**6)[0] is balls[0]
    coarse = coarsen(balls, 1200)
    assert 300 < sum(len(faces) for _, faces in coarse) <= 1200
    for before, after in zip(balls, coarse, strict=True):
        assert volume_of(*after) == pytest.approx(volume_of(*before), rel=0.15)
        assert (after[1] != np.roll(after[1], 1, axis=1)).all()
