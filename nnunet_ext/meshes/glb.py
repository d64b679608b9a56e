"""GLB: all fragments in one file for viewers, each a named and coloured node, in metres and upright."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.atomic import replacing
from nnunet_ext.fragment_names import FragmentName
from nnunet_ext.manifest import NOTE
from postproc.surfaces import Surface
from postproc.surfaces.surface import vertex_normals

__all__ = ["LPS_TO_GLTF", "write_glb"]

LPS_TO_GLTF = ((0.001, 0.0, 0.0, 0.0), (0.0, 0.0, 0.001, 0.0), (0.0, -0.001, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
"""Matrix of the node that holds all fragments, by rows. Source: glTF 2.0, 3.4: metres, +Y up, the front of an asset
faces +Z. The patient stands upright and faces the viewer: x of glTF is left, y superior, z anterior. Vertices inside
the node stay in LPS and mm."""

FLOAT, UINT = 5126, 5125
VERTICES, FACES = 34962, 34963
"""Numbers of component types and buffer targets in glTF 2.0."""

ROUGHNESS = 0.6
"""Source: chosen here: bone is neither mirror nor chalk."""


def write_glb(path: Path, parts: Sequence[tuple[FragmentName, Surface]]) -> None:
    """Write surfaces as one coloured GLB (glTF 2.0, binary).

    Args:
        path: The file.
        parts: Name and surface of each fragment, vertices in LPS and mm.

    Raises:
        VolumeFileError: The file cannot be written.
    """
    chunks: list[bytes] = []
    content: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "nnunet-abbc", "copyright": NOTE},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {
                "name": "LPS, mm",
                "children": list(range(1, len(parts) + 1)),
                "matrix": np.transpose(LPS_TO_GLTF).ravel().tolist(),
            }
        ],
        "meshes": [],
        "materials": [],
        "accessors": [],
        "bufferViews": [],
    }
    for index, (name, surface) in enumerate(parts):
        normals = vertex_normals(surface.vertices, surface.faces)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.where(length > 0, normals / np.where(length > 0, length, 1.0), (0.0, 0.0, 1.0))
        position = _add(content, chunks, surface.vertices.astype("<f4"), VERTICES)
        normal = _add(content, chunks, normals.astype("<f4"), VERTICES)
        faces = _add(content, chunks, surface.faces.astype("<u4").reshape(-1), FACES)
        primitive = {"attributes": {"POSITION": position, "NORMAL": normal}, "indices": faces, "material": index}
        content["meshes"].append({"name": name.segment_id, "primitives": [primitive]})
        content["materials"].append(
            {
                "name": name.display_name,
                "pbrMetallicRoughness": {
                    "baseColorFactor": [*_linear(name.colour), 1.0],
                    "metallicFactor": 0.0,
                    "roughnessFactor": ROUGHNESS,
                },
            }
        )
        content["nodes"].append({"name": name.display_name, "mesh": index})
    binary = b"".join(chunks)
    content["buffers"] = [{"byteLength": len(binary)}]
    text = json.dumps(content, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 4)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(binary)))
        stream.write(struct.pack("<I4s", len(text), b"JSON") + text)
        stream.write(struct.pack("<I4s", len(binary), b"BIN\0") + binary)


def _add(content: dict[str, Any], chunks: list[bytes], values: NDArray[Any], target: int) -> int:
    """Append an array of 4-byte numbers to the buffer and return the number of its accessor."""
    data = values.tobytes()
    start = sum(view["byteLength"] for view in content["bufferViews"])
    content["bufferViews"].append({"buffer": 0, "byteOffset": start, "byteLength": len(data), "target": target})
    accessor = {"bufferView": len(chunks), "count": len(values), "type": "SCALAR", "componentType": UINT}
    if target == VERTICES:
        accessor |= {"type": "VEC3", "componentType": FLOAT}
        accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
    content["accessors"].append(accessor)
    chunks.append(data)
    return len(chunks) - 1


def _linear(colour: tuple[int, int, int]) -> list[float]:
    """Return an sRGB colour of 0 to 255 as linear light of 0 to 1. Source: glTF 2.0, 3.9.2; IEC 61966-2-1."""
    value = np.asarray(colour, float) / 255
    linear: list[float] = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).tolist()
    return linear
