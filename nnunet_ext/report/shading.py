"""Shaded pictures of triangle surfaces, drawn with NumPy alone: in each point the nearest triangle wins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

__all__ = ["VIEWS", "Picture", "Solid", "draw_solids"]

VIEWS: Mapping[str, tuple[float, float]] = {
    "Front": (0.0, 0.0),
    "Left side": (0.0, 90.0),
    "Inlet": (40.0, 0.0),
    "Outlet": (-40.0, 0.0),
}
"""How far the viewer is raised, and turned to the patient's left, in degrees. Source: inlet and outlet as radiographs
of the pelvis are taken, the beam tilted 40 degrees to the feet and to the head (Pennal et al. 1980)."""

OVERSAMPLING = 2
"""Points per pixel and direction before averaging, which smooths edges."""

LIGHTS = (((-0.42, 0.58, 0.70), 0.80), ((0.75, 0.05, 0.45), 0.22))
"""Direction (right, up, to the viewer) and strength of the lights. Source: chosen here; as in the page's viewer."""


@dataclass(frozen=True)
class Solid:
    """A surface to draw.

    Attributes:
        vertices: Array (n, 3): x, y, z in LPS mm.
        faces: Array (m, 3), counterclockwise as seen from outside.
        colour: Red, green, blue, 0 to 255.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Picture:
    """A picture without perspective.

    Attributes:
        image: Red, green, blue and opacity, 0 to 1 (rows, columns, 4).
        pixel_mm: Size of a pixel.
    """

    image: NDArray[np.float64]
    pixel_mm: float


def draw_solids(solids: Sequence[Solid], view: tuple[float, float], pixel_mm: float = 0.7) -> Picture:
    """Draw surfaces.

    Args:
        solids: The surfaces.
        view: Raised and turned to the patient's left by so many degrees, as in `VIEWS`.
        pixel_mm: Size of a pixel.

    Returns:
        The picture, as large as the surfaces need; patient's right on its left in a view from the front.
    """
    turn = _turn(view)
    step = pixel_mm / OVERSAMPLING
    drawn = [solid for solid in solids if len(solid.faces)]
    if not drawn:
        return Picture(np.zeros((8, 8, 4)), pixel_mm)
    seen = [solid.vertices @ turn.T for solid in drawn]
    low = np.min([v.min(axis=0) for v in seen], axis=0) - 2 * pixel_mm
    high = np.max([v.max(axis=0) for v in seen], axis=0) + 2 * pixel_mm
    width, height = (int(np.ceil((high[k] - low[k]) / pixel_mm)) * OVERSAMPLING for k in (0, 1))
    nearest = np.full(width * height, -np.inf, np.float32)
    normals = np.zeros((width * height, 3), np.float32)
    albedo = np.zeros((width * height, 3), np.float32)
    for solid, places in zip(drawn, seen, strict=True):
        colour = (np.array(solid.colour, np.float32) / 255) ** 2.2  # light adds up in linear values
        of_vertices = _vertex_normals(places, solid.faces)
        screen = np.stack([(places[:, 0] - low[0]) / step, (high[1] - places[:, 1]) / step, places[:, 2]], axis=1)
        for row, column, faces, shares in _covered(screen.astype(np.float32), solid.faces):
            target = row * width + column
            depth = (shares * screen[faces, 2]).sum(axis=1).astype(np.float32)
            before = nearest[target]
            np.maximum.at(nearest, target, depth)
            wins = (depth == nearest[target]) & (depth > before)
            target = target[wins]
            normals[target] = (shares[wins, :, None] * of_vertices[faces[wins]]).sum(axis=1)
            albedo[target] = colour
    shape = (height, width)
    lit = _lit(nearest.reshape(shape), normals.reshape(*shape, 3), albedo.reshape(*shape, 3), step)
    parts = lit.reshape(height // OVERSAMPLING, OVERSAMPLING, width // OVERSAMPLING, OVERSAMPLING, 4)
    image = parts.mean(axis=(1, 3))
    opacity = np.maximum(image[..., 3:], 1e-6)
    image[..., :3] = np.clip(image[..., :3] / opacity, 0, 1) ** (1 / 2.2)
    return Picture(image, pixel_mm)


def _turn(view: tuple[float, float]) -> NDArray[np.float64]:
    """Return the matrix from LPS to right, up and towards the viewer."""
    up, left = np.radians(view[0]), np.radians(view[1])
    towards = [np.sin(left) * np.cos(up), -np.cos(left) * np.cos(up), np.sin(up)]
    right = [np.cos(left), np.sin(left), 0.0]
    return np.array([right, np.cross(towards, right), towards])


def _vertex_normals(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the mean outward direction of the faces round each vertex, weighted by their area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    of_faces = np.cross(b - a, c - a)
    sums = [np.bincount(faces.ravel(), np.repeat(of_faces[:, k], 3), len(vertices)) for k in range(3)]
    total = np.stack(sums, axis=1)
    normals: NDArray[np.float64] = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
    return normals


def _covered(
    screen: NDArray[np.float32], faces: NDArray[np.int32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]]:
    """Yield the pixels whose middles lie on faces that look to the viewer: row, column, corners and their shares.

    Args:
        screen: Vertices (n, 3): column, row, towards the viewer.
        faces: Array (m, 3).
    """
    x, y = screen[faces, 0], screen[faces, 1]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    first = np.stack([np.ceil(y.min(axis=1) - 0.5), np.ceil(x.min(axis=1) - 0.5)], axis=1).astype(np.int64)
    last = np.stack([np.floor(y.max(axis=1) - 0.5), np.floor(x.max(axis=1) - 0.5)], axis=1).astype(np.int64)
    is_seen = (area < -1e-9) & (last >= first).all(axis=1)  # rows run downwards: what looks to the viewer is negative
    sizes = np.where(is_seen, (last - first + 1).max(axis=1), 0)
    limits = np.unique([*range(7), *np.rint(6 * 1.4 ** np.arange(1, 20))]).astype(int)
    for smallest, largest in pairwise(limits):
        chosen = np.flatnonzero((sizes > smallest) & (sizes <= largest))
        if not len(chosen):
            continue
        count = max(1, 400_000 // largest**2)
        rows, columns = (k.ravel() for k in np.meshgrid(np.arange(largest), np.arange(largest), indexing="ij"))
        for few in np.split(chosen, range(count, len(chosen), count)):
            row, column = first[few, :1] + rows, first[few, 1:] + columns
            shares = np.empty((3, *row.shape), np.float32)
            for k in range(3):
                i, j = (k + 1) % 3, (k + 2) % 3
                dx, dy = x[few, j] - x[few, i], y[few, j] - y[few, i]
                away = dx[:, None] * (row + np.float32(0.5) - y[few, i, None])
                away -= dy[:, None] * (column + np.float32(0.5) - x[few, i, None])
                shares[k] = away / area[few, None]
            face, pixel = np.nonzero((shares >= -1e-5).all(axis=0))
            yield row[face, pixel], column[face, pixel], faces[few[face]], shares[:, face, pixel].T


def _lit(
    nearest: NDArray[np.float32], normals: NDArray[np.float32], albedo: NDArray[np.float32], step_mm: float
) -> NDArray[np.float64]:
    """Return linear colours times opacity, and opacity."""
    is_hit = np.isfinite(nearest)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    light = np.zeros(nearest.shape)
    for direction, strength in LIGHTS:
        towards = np.array(direction) / np.linalg.norm(direction)
        light += strength * np.clip((normals @ towards + 0.12) / 1.12, 0, None)
    sky = 0.5 + 0.5 * normals[..., 1]
    light += 0.20 + 0.24 * sky
    light *= _openness(nearest, is_hit, step_mm)
    key = np.array(LIGHTS[0][0]) / np.linalg.norm(LIGHTS[0][0]) + np.array([0.0, 0.0, 1.0])
    gleam = np.clip(normals @ (key / np.linalg.norm(key)), 0, 1) ** 36 * 0.10
    rim = np.clip(1 - normals[..., 2], 0, 1) ** 3 * 0.10
    image = np.zeros((*nearest.shape, 4))
    image[..., :3] = np.minimum(albedo * light[..., None] + (gleam + rim * sky)[..., None], 1.0)
    image[..., 3] = 1.0
    image[~is_hit] = 0.0
    return image


def _openness(nearest: NDArray[np.float32], is_hit: NDArray[np.bool_], step_mm: float) -> NDArray[Any]:
    """Return less than 1 where the surroundings lie nearer to the viewer.

    Source: depth buffer against its blur (Luft, Colditz and Deussen 2006); widths and strengths chosen here.
    """
    share = np.ones(nearest.shape, np.float32)
    for width_mm, strength, reach_mm in ((1.8, 0.30, 4.0), (9.0, 0.42, 16.0)):
        coarse = max(1, int(width_mm / step_mm / 3))  # wide blurs need no fine points
        hit = is_hit[::coarse, ::coarse].astype(np.float32)
        depth = np.where(hit > 0, nearest[::coarse, ::coarse], 0)
        sigma = width_mm / step_mm / coarse
        weight = np.maximum(gaussian_filter(hit, sigma, truncate=2.5), 1e-3)
        blurred = gaussian_filter(depth, sigma, truncate=2.5) / weight
        if coarse > 1:
            matrix = (1 / coarse, 1 / coarse)
            blurred = affine_transform(blurred, matrix, output_shape=nearest.shape, order=1, mode="nearest")
        share *= 1 - strength * np.clip((blurred - np.where(is_hit, nearest, 0)) / reach_mm, -0.35, 1)
    return share
