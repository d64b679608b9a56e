"""What other programs read from the files: places, names, colours, closed bodies."""

import io
import json
import struct
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
import trimesh

from nnunet_ext.fragment_names import name_fragments
from nnunet_ext.meshes import make_meshes, write_meshes
from nnunet_ext.meshes.files import doubts_of
from nnunet_ext.schemes import load_scheme
from nnunet_ext.volumes import Volume

CORE = "{http://schemas.microsoft.com/3dmanufacturing/core/2015/02}"


@pytest.fixture
def case(labels, oblique, tmp_path):
    """Surfaces and names of a volume, and the folder with their files."""
    surfaces = make_meshes(Volume(labels, (1.5, 0.8, 0.9), (-101.5, 20.25, 7.125), oblique), smoothing=8)
    names = name_fragments([1, 11, 12], load_scheme("pengwin2024"))
    table = write_meshes(tmp_path / "case", surfaces, names)
    return {fragment.label: fragment for fragment in surfaces}, names, tmp_path / "case", table


def test_files(case):
    _, _, folder, _ = case
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    parts = ["hip_left_frag01.stl", "hip_left_frag02.stl", "meshes.csv", "meshes.json", "sacrum_frag01.stl"]
    assert found == ["assembly.3mf", "assembly.glb", *(f"meshes/{name}" for name in parts)]


def test_stl_holds_the_surface_bit_by_bit(case):
    surfaces, names, folder, _ = case
    for label, fragment in surfaces.items():
        path = folder / "meshes" / f"{names[label].segment_id}.stl"
        read = trimesh.load(path)
        assert read.is_watertight
        assert read.is_winding_consistent
        assert read.volume == pytest.approx(fragment.volume_mm3, rel=1e-4)
        places = np.asarray(read.triangles)
        np.testing.assert_array_equal(places, fragment.surface.vertices[fragment.surface.faces])
        head = path.read_bytes()[:84]
        assert head.startswith(b"LPS, mm. Research use only, not a medical device.")
        assert struct.unpack("<I", head[80:]) == (len(fragment.surface.faces),)


def test_glb_is_upright_in_metres_and_coloured(case):
    surfaces, names, folder, _ = case
    scene = trimesh.load(folder / "assembly.glb")
    assert len(scene.geometry) == 3
    for label, fragment in surfaces.items():
        mesh = scene.geometry[names[label].segment_id]
        np.testing.assert_allclose(mesh.vertices, fragment.surface.vertices, atol=1e-4)
        assert mesh.is_watertight
        linear = np.asarray(mesh.visual.material.baseColorFactor, float)[:3]
        linear = linear / 255 if linear.max() > 1 else linear
        encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        np.testing.assert_allclose(encoded * 255, names[label].colour, atol=12)  # trimesh rounds linear light to a byte
    matrix = scene.graph.get(names[1].display_name)[0]
    left_posterior_superior = matrix[:3, :3] @ np.eye(3) * 1000
    np.testing.assert_allclose(left_posterior_superior.T, [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-9)
    content = (folder / "assembly.glb").read_bytes()
    assert struct.unpack("<I", content[8:12]) == (len(content),)
    length = struct.unpack("<I", content[12:16])[0]
    document = json.loads(content[20 : 20 + length])
    assert document["asset"]["copyright"] == "Research use only, not a medical device."
    assert [node["name"] for node in document["nodes"][1:]] == [name.display_name for name in names.values()]
    factors = [material["pbrMetallicRoughness"]["baseColorFactor"] for material in document["materials"]]
    for name, factor in zip(names.values(), factors, strict=True):
        encoded = [12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in factor[:3]]
        np.testing.assert_allclose(np.array(encoded) * 255, name.colour, atol=1e-6)


def test_3mf_is_one_coloured_assembly_in_mm(case):
    surfaces, names, folder, _ = case
    with zipfile.ZipFile(folder / "assembly.3mf") as archive:
        assert archive.testzip() is None
        root = ElementTree.parse(io.BytesIO(archive.read("3D/3dmodel.model"))).getroot()
    assert root.get("unit") == "millimeter"
    colours = [base.get("displaycolor") for base in root.iter(f"{CORE}base")]
    assert colours == [f"{name.hex_colour.upper()}FF" for name in names.values()]
    objects = list(root.iter(f"{CORE}object"))
    assert [item.get("name") for item in objects] == [*(n.display_name for n in names.values()), "All fragments"]
    assert [item.get("pindex") for item in objects[:3]] == ["0", "1", "2"]
    assert [item.get("objectid") for item in root.iter(f"{CORE}item")] == [objects[-1].get("id")]
    assert "Research use only" in root.find(f"{CORE}metadata").text
    for item, fragment in zip(objects, surfaces.values(), strict=False):
        vertices = [[float(v.get(axis)) for axis in "xyz"] for v in item.iter(f"{CORE}vertex")]
        faces = [[int(t.get(corner)) for corner in ("v1", "v2", "v3")] for t in item.iter(f"{CORE}triangle")]
        np.testing.assert_array_equal(np.array(vertices, np.float32), fragment.surface.vertices.astype(np.float32))
        np.testing.assert_array_equal(faces, fragment.surface.faces)
    scene = trimesh.load(folder / "assembly.3mf")
    assert scene.volume == pytest.approx(sum(fragment.volume_mm3 for fragment in surfaces.values()), rel=1e-4)


def test_table_tells_what_was_proved(case):
    surfaces, names, folder, table = case
    assert json.loads((folder / "meshes" / "meshes.json").read_text()) == table
    assert table["note"] == "Research use only, not a medical device."
    for row in table["fragments"]:
        fragment = surfaces[row["label"]]
        assert row["file"] == f"{names[row['label']].segment_id}.stl"
        assert row["triangles"] == len(fragment.surface.faces)
        assert row["watertight"] is row["manifold"] is row["outward"] is True
        assert abs(row["volume_error_percent"]) < 1
        assert row["largest_deviation_mm"] == round(fragment.largest_deviation_mm, 3)
    assert doubts_of(table) == []
    first = table["fragments"][0]
    wrong = {"fragments": [{**first, "manifold": False, "overlap_mm3": 0.5, "clearance_mm": 0.1}]}
    (line,) = doubts_of(wrong, 0.2)
    assert line == "sacrum_frag01: not manifold, overlaps others by 0.500 mm3, only 0.100 mm from another fragment"
    lost = {"fragments": [{**first, "volume_error_percent": -100.0}]}
    assert doubts_of(lost) == ["sacrum_frag01: its volume is off by -100.0 %"]


def test_same_bytes_and_no_leftovers(case):
    surfaces, names, folder, _ = case
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write_meshes(folder, tuple(surfaces.values()), names)
    assert before == {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "meshes" / "mine.stl").write_bytes(b"kept")
    write_meshes(folder, [surfaces[1]], names)
    assert sorted(path.name for path in (folder / "meshes").glob("*.stl")) == ["mine.stl", "sacrum_frag01.stl"]
