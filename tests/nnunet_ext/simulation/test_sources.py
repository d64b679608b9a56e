import numpy as np
import pytest

from label_gen.errors import DataError, UsageError
from nnunet_ext.schemes import load_scheme
from nnunet_ext.simulation.sources import PHANTOM, find_sources, load_patient
from nnunet_ext.simulation.views import FEMUR_ALONE_MM, FEMUR_BELOW_MM, MARGIN_MM
from tests.volumes import box

SCHEME = load_scheme("pengwin2024")
LPS = (1, 0, 0, 0, 1, 0, 0, 0, 1)


@pytest.fixture
def bones():
    """A sacrum, a hip, and a femur that leaves the volume below; 2 mm (z, y, x)."""
    return box(
        (100, 30, 70),
        (1, (70, 90), (8, 22), (8, 22)),
        (2, (60, 95), (8, 22), (30, 45)),
        (4, (0, 75), (8, 22), (50, 62)),
    )


@pytest.fixture
def put(save, tmp_path):
    """Write a volume of 2 mm along LPS."""

    def write(array, name="in/a.mha", **options):
        chosen = {"spacing": (2.0, 2.0, 2.0), "origin": (10.0, -20.0, 30.0), "direction": LPS}
        return save(array, tmp_path / name, **{**chosen, **options})

    return write


def find(anatomy, ct=None, phantom=False, output="out"):
    return find_sources(anatomy, ct, phantom, output)


def test_bones_and_view(put, bones, tmp_path):
    ((source,), notes) = find(put(bones))
    assert (source.name, source.size_mm, source.problem, notes) == ("a", (200.0, 60.0, 140.0), "", ())
    patient = load_patient(source, 1, SCHEME, None, None)
    assert list(patient.bones) == ["sacrum", "left_hip", "left_femur"]
    assert (patient.ct, patient.may_vary, patient.grid.spacing_mm) == (None, True, (1.0, 1.0, 1.0))
    low = np.array(patient.grid.origin_mm)
    high = low + np.array(patient.grid.shape)[::-1]
    first, last = (
        np.array([10.0, -20.0, 30.0]) + 2 * np.array([8, 8, 60]),
        np.array([10.0, -20.0, 30.0]) + 2 * np.array([62, 22, 95]),
    )
    assert (low[:2] < first[:2] - 10).all()
    assert (high > last + 6).all()
    assert low[2] == pytest.approx(30 + 2 * 60 - FEMUR_BELOW_MM - MARGIN_MM[0], abs=4)


def test_the_view_ends_with_the_labels(put, bones):
    patient = load_patient(find(put(bones[30:]))[0][0], 1, SCHEME, (2.0, 2.0, 2.0), None)
    assert patient.grid.origin_mm[2] == pytest.approx(30 + 3 + 1, abs=1)


def test_bone_that_grazes_a_face_ends_there(put, bones):
    patient = load_patient(find(put(bones[:, 8:]))[0][0], 1, SCHEME, None, None)
    assert patient.grid.origin_mm[1] == pytest.approx(-20 + 3 + 0.5, abs=0.5)
    bones[:, 8] = 0
    bones[72:74, 8, 8:14] = 1
    patient = load_patient(find(put(bones[:, 8:], "b.mha"))[0][0], 1, SCHEME, None, None)
    assert patient.grid.origin_mm[1] < -25


def test_a_femur_alone(put):
    patient = load_patient(find(put(box((200, 30, 30), (5, (10, 190), (8, 22), (8, 22)))))[0][0], 1, SCHEME, None, None)
    assert patient.grid.shape[0] == pytest.approx(FEMUR_ALONE_MM + 2 * MARGIN_MM[0], abs=4)


def test_given_view(put, bones):
    patient = load_patient(find(put(bones))[0][0], 1, SCHEME, (3.0, 2.0, 2.0), (60.0, 40.0, 50.0))
    assert (patient.grid.shape, patient.grid.spacing_mm) == ((20, 20, 25), (3.0, 2.0, 2.0))


def test_a_ct_gives_the_grid(put, bones):
    ct = put(np.where(bones > 0, 400, 40).astype(np.int16), "ct/a.nii.gz")
    ((source,), _) = find(put(bones), ct)
    patient = load_patient(source, 1, SCHEME, None, None)
    assert patient.grid.shape == patient.ct.array.shape == bones.shape
    assert patient.grid.origin_mm == patient.ct.origin_mm == (10.0, -20.0, 30.0)
    finer = load_patient(source, 1, SCHEME, (1.0, 1.0, 1.0), None).grid
    assert finer.shape == (200, 60, 140)
    assert finer.origin_mm == pytest.approx((9.5, -20.5, 29.5))
    inside = load_patient(source, 1, SCHEME, None, (600.0, 20.0, 600.0)).grid
    assert inside.shape == (100, 10, 70)
    assert load_patient(source, 1, SCHEME, None, None, with_ct=False).ct is None


@pytest.mark.parametrize("axes", [(-1, -1, 1), (1, -1, -1), (-1, 1, 1)])
def test_volumes_are_turned_to_lps(put, bones, axes):
    kept = load_patient(find(put(bones))[0][0], 1, SCHEME, None, None)
    x, y, z = axes
    turned = bones[::z, ::y, ::x]
    ends = np.array(bones.shape[::-1]) * 2 - 2
    origin = [o + (e if axis < 0 else 0) for o, e, axis in zip((10.0, -20.0, 30.0), ends, axes, strict=True)]
    direction = (x, 0, 0, 0, y, 0, 0, 0, z)
    path = put(turned, "other/a.mha", origin=origin, direction=direction)
    patient = load_patient(find(path)[0][0], 1, SCHEME, None, None)
    assert patient.grid == kept.grid
    for name, solid in kept.bones.items():
        assert (patient.bones[name].depths == solid.depths).all()


def test_oblique_volumes_are_patients_who_lie_aslant(put, bones, oblique):
    patient = load_patient(find(put(bones, direction=oblique))[0][0], 1, SCHEME, None, None)
    assert list(patient.bones) == ["sacrum", "left_hip", "left_femur"]


def test_phantoms_differ_by_seed():
    ((source,), _) = find(None, phantom=True)
    one, same, other = (load_patient(source, seed, SCHEME, (3.0, 3.0, 3.0), None) for seed in (1, 1, 2))
    assert source.name == PHANTOM
    assert one.grid == same.grid != other.grid
    assert one.traits == same.traits != other.traits
    assert not one.may_vary
    assert len(one.bones) == 5
    small = load_patient(source, 1, SCHEME, (3.0, 3.0, 3.0), (90.0, 60.0, 30.0))
    assert small.grid.shape == (30, 20, 10)


def test_phantoms_and_volumes_take_turns(put, bones):
    sources, _ = find(put(bones).parent, phantom=True)
    assert [source.name for source in sources] == ["a", PHANTOM]
    with pytest.raises(UsageError, match=r"called 'phantom', as parametric pelves are; rename it"):
        find(put(bones, "in/phantom.mha").parent, phantom=True)


def test_nothing_to_break(put, bones):
    with pytest.raises(UsageError, match=r"nothing to break: give bone labels \(-i\), .* or use parametric pelves"):
        find(None)
    with pytest.raises(UsageError, match=r"a CT needs the labels of its bones"):
        find(None, put(bones))


def test_sources_with_faults_are_named(put, bones, tmp_path):
    put(bones, "in/fine.mha")
    put(bones, "in/coarse.mha", spacing=(1.0, 1.0, 3.3))
    put(bones, "in/no_ct.mha")
    put(bones, "in/shifted.mha")
    (tmp_path / "in" / "broken.nii.gz").write_bytes(b"no volume")
    for name in ("fine", "coarse", "broken", "surplus"):
        put(bones.astype(np.int16), f"ct/{name}.nii.gz", spacing=(1.0, 1.0, 3.3) if name == "coarse" else (2.0,) * 3)
    put(bones.astype(np.int16), "ct/shifted.nii.gz", origin=(0.0, 0.0, 0.0))
    sources, notes = find(tmp_path / "in", tmp_path / "ct")
    problems = {source.name: source.problem for source in sources}
    assert problems["fine"] == ""
    assert (
        "coarse.mha' has voxels of 3.3 x 1 x 1 mm (z, y, x); at most 3 mm show where a bone ends" in problems["coarse"]
    )
    assert "there is no CT of this name in 'ct'; add 'no_ct.nii.gz' to it" in problems["no_ct"]
    assert "are on different grids: origin (10, -20, 30) against (0, 0, 0) mm" in problems["shifted"]
    assert "broken.nii.gz' is truncated or damaged" in problems["broken"]
    assert notes == ("CTs without bone labels: surplus",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda bones: bones * 0, "a.mha': there is no bone in the labels"),
        (lambda bones: bones + 6, "a.mha': label 6, 7, 8, 10 is no bone; bones are numbered 1 sacrum, 2 left_hip"),
        (lambda bones: bones + 0.5, "holds values that are not whole numbers"),
        (lambda bones: bones.astype(np.int16) - 5, "holds the negative label -5"),
    ],
)
def test_labels_that_are_no_bones(put, bones, change, message):
    ((source,), _) = find(put(change(bones)))
    with pytest.raises(DataError, match=message):
        load_patient(source, 1, SCHEME, None, None)


def test_a_ct_of_somebody_else(put, bones):
    ((source,), _) = find(put(bones), put(np.full(bones.shape, 40, np.int16), "ct/a.mha"))
    with pytest.raises(DataError, match=r"ct/a.mha' shows no bone where the labels say so: 95 % of that is below 40"):
        load_patient(source, 1, SCHEME, None, None)
    ((source,), _) = find(put(bones), put(np.full(bones.shape, np.nan, np.float32), "ct/a.mha"))
    with pytest.raises(DataError, match=r"ct/a.mha' holds NaN or infinite values"):
        load_patient(source, 1, SCHEME, None, None)


def test_bones_that_cannot_break_are_seen_in_the_ct(put, bones, tmp_path):
    text = 'name = "more"\n[abbc]\nbackground = 0\nboundary = 1\ncore = 2\nborder = 3\n'
    text += "[anatomy]\nsacrum = 1\nleft_hip = 2\nleft_femur = 4\nvertebra = 5\n"
    text += '[[bones]]\nname = "sacrum"\nids = [1, 9]\n'
    (tmp_path / "more.toml").write_text(text)
    bones[0:20, 8:22, 8:22] = 5
    patient = load_patient(find(put(bones))[0][0], 1, load_scheme(tmp_path / "more.toml"), None, None)
    assert list(patient.bones) == ["sacrum", "left_hip", "left_femur"]
    assert len(patient.extra) == 1
    ((source,), _) = find(put(np.where(bones == 5, 5, 0).astype(np.uint8), "x/a.mha"))
    with pytest.raises(DataError, match="none of the bones that can break is there"):
        load_patient(source, 1, load_scheme(tmp_path / "more.toml"), None, None)
