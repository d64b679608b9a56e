import cc3d
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from label_gen import DataError, LabelScheme, UsageError
from label_gen._sampling import SampleGrid
from label_gen.phantom import PHANTOM_SCHEME
from label_gen.scheme import Bone
from label_gen.simulation.settings import FractureKinds, SimulationSettings
from label_gen.simulation.simulate import IntactCT, simulate_fractures
from label_gen.simulation.solids import SampledSolid

SIZE_MM = (90.0, 70.0, 110.0)


def grid_of(spacing, thick=None):
    return SampleGrid.around((0.0, 0.0, 0.0), SIZE_MM, (thick or spacing, spacing, spacing))


def bones():
    """Two bones beside each other, left and right: a thick plate and a rod."""
    grid = grid_of(1.0)
    x, y, z = grid.points(tuple(slice(0, n) for n in grid.shape))
    plate = (np.abs(0.8 * (x - 25) + 0.3 * z) < 15) & (np.abs(y + 0.25 * z) < 9) & (np.abs(z - 0.2 * x) < 30)
    rod = ((x + 25) ** 2 + y**2 < 14**2) & (np.abs(z) < 34)
    return {
        name: SampledSolid.from_mask(mask, grid.spacing_mm, grid.origin_mm)
        for name, mask in (("left_hip", plate), ("right_hip", rod))
    }


def settings(**changes):
    kinds = FractureKinds(closed=1.0, opened=0.0, displaced=0.0, impacted=0.0)
    fixed = {"fragments": {"left_hip": 3, "right_hip": 2}, "kinds": kinds, "vary_anatomy": False, "chip_rate": 0.0}
    return SimulationSettings(**(fixed | {"with_ct": False, "crack_rate": 0.0} | changes))


@pytest.fixture(scope="module")
def case():
    return simulate_fractures(bones(), 5, grid_of(1.5), settings=settings(with_ct=True))


def test_volumes_of_a_case(case):
    assert case.ct.dtype == np.int16
    assert case.labels.dtype == np.uint8
    assert case.labels.shape == case.anatomy.shape == case.intact_anatomy.shape == case.ct.shape == grid_of(1.5).shape
    assert np.unique(case.labels).tolist() == [0, 11, 12, 13, 21, 22]
    assert case.counts_wanted["left_hip"] == 3
    sizes = np.bincount(case.labels.ravel())
    assert sizes[11] > sizes[12] > sizes[13] > 0
    for number in np.unique(case.labels)[1:]:
        assert cc3d.connected_components(case.labels == number, connectivity=26).max() == 1
    assert (case.anatomy[case.labels // 10 == 1] == 2).all()
    assert (case.anatomy[case.labels // 10 == 2] == 3).all()
    assert ((case.anatomy > 0) == (case.labels > 0)).all()
    inside, outside = case.ct[case.labels > 0], case.ct[case.labels == 0]
    assert inside.mean() > outside.mean() + 100


def test_motion_leads_from_the_intact_bone_to_the_fragment(case):
    assert sorted(case.motions) == [11, 12, 13, 21, 22]
    for number, matrix in case.motions.items():
        rotation = matrix[:3, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        index = np.argwhere(case.labels == number)
        found = index[:, ::-1] * np.array(case.spacing_mm)[::-1] + case.origin_mm
        rest = (found - matrix[:3, 3]) @ rotation  # the inverse motion
        back = np.rint((rest - case.origin_mm) / np.array(case.spacing_mm)[::-1]).astype(int)[:, ::-1]
        is_inside = ((back >= 0) & (back < case.labels.shape)).all(axis=1)
        bone = binary_dilation(case.intact_anatomy == (2 if number < 20 else 3))
        assert bone[tuple(back[is_inside].T)].mean() > 0.98


def test_same_seed_same_bytes(case):
    again = simulate_fractures(bones(), 5, grid_of(1.5), settings=settings(with_ct=True))
    for name in ("ct", "labels", "anatomy", "intact_anatomy"):
        assert (getattr(again, name) == getattr(case, name)).all()
    other = simulate_fractures(bones(), 6, grid_of(1.5), settings=settings())
    assert (other.labels != case.labels).any()


def test_same_patient_at_another_spacing(case):
    fine = simulate_fractures(bones(), 5, grid_of(1.0), settings=settings())
    assert fine.fractures == case.fractures
    for number in case.motions:
        assert np.allclose(fine.motions[number], case.motions[number])
        coarse_mm3 = (case.labels == number).sum() * 1.5**3
        assert (fine.labels == number).sum() * 1.0 == pytest.approx(coarse_mm3, rel=0.08)


def test_thick_slices_are_seen_thick_and_labelled_where_they_lie():
    thick = simulate_fractures(bones(), 5, grid_of(1.5, 4.5), settings=settings(with_ct=True))
    thin = simulate_fractures(bones(), 5, grid_of(1.5), settings=settings(with_ct=True))
    assert thick.ct.shape == thick.labels.shape == grid_of(1.5, 4.5).shape
    top = [np.flatnonzero((case.labels > 0).any(axis=(1, 2)))[-1] for case in (thick, thin)]
    heights = [case.origin_mm[2] + k * case.spacing_mm[0] for case, k in zip((thick, thin), top, strict=True)]
    assert abs(heights[0] - heights[1]) <= 4.5
    # The end of the bone is a mixture in thick slices.
    inside = thick.labels[top[0]] > 0
    assert thick.ct[top[0]][inside].mean() < thin.ct[top[1] - 1][thin.labels[top[1] - 1] > 0].mean() + 200


def test_bone_without_a_band_stays_whole_and_labelled_as_anatomy():
    scheme = LabelScheme("one", (Bone("left_hip", 1, 10),), PHANTOM_SCHEME.anatomy, "")
    found = simulate_fractures(bones(), 5, grid_of(2.0), scheme=scheme, settings=settings())
    assert np.unique(found.labels).tolist() == [0, 1, 2, 3]
    assert np.unique(found.anatomy).tolist() == [0, 2, 3]


def test_given_ct_is_broken():
    grid = grid_of(1.5)
    whole = simulate_fractures(
        bones(), 5, grid, settings=settings(fragments={"left_hip": 1, "right_hip": 1}, with_ct=True)
    )
    intact = IntactCT(whole.ct, grid.spacing_mm, grid.origin_mm)
    found = simulate_fractures(bones(), 5, grid, settings=settings(with_ct=True), ct=intact)
    assert found.ct.dtype == np.int16
    far = (found.labels == 0) & (whole.labels == 0)
    assert (found.ct[far] == whole.ct[far]).mean() > 0.5
    assert found.ct[found.labels > 0].mean() > found.ct[far].mean() + 100


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"seed": -1}, UsageError, "seed is -1"),
        ({"anatomy": {}}, DataError, "anatomy is empty"),
        ({"anatomy": {"skull": None}}, UsageError, "no bone 'skull'; bones are sacrum"),
        ({"grid": grid_of(3.5)}, UsageError, r"the spacing is \(3\.5, 3\.5, 3\.5\) mm"),
        (
            {"grid": SampleGrid((9, 9, 9), (1.0,) * 3, (900.0, 0.0, 0.0))},
            DataError,
            "no bone lies in the field of view",
        ),
        ({"settings": settings(fragments={"skull": 2})}, UsageError, "no bone 'skull'"),
    ],
)
def test_nonsense_is_refused(change, error, said):
    arguments = {"anatomy": bones(), "seed": 1, "grid": grid_of(2.0), "settings": settings()} | change
    with pytest.raises(error, match=said):
        simulate_fractures(**arguments)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"fragments": {"sacrum": 24}}, "24 fragments are wanted of 'sacrum'; 1 to 23"),
        ({"crack_rate": -1.0}, "crack_rate is a mean number"),
        ({"min_fragment_mm3": 1.0}, "50 to 100,000"),
        ({"slice_thickness_mm": 9.0}, "slice thickness is 9"),
        ({"noise_hu": -1.0}, "noise is -1"),
        ({"kernel": "sharp"}, "soft, bone or random"),
    ],
)
def test_settings_that_make_no_sense(wrong, said):
    with pytest.raises(UsageError, match=said):
        SimulationSettings(**wrong)


def test_kinds_need_a_weight():
    with pytest.raises(UsageError, match="weights from 0"):
        FractureKinds(closed=0, opened=0, displaced=0, impacted=0)
