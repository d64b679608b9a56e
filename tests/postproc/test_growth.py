import numpy as np
import pytest
from scipy import ndimage

from postproc.growth import grow
from tests.volumes import AXIS_ORDERS, box

ENGINES = pytest.mark.parametrize("engine", ["fmm", "watershed"])


def grown(seeds, domain, spacing=(1.0, 1.0, 1.0), engine="fmm"):
    owners = seeds.astype(np.int32)
    grow(owners, domain, spacing, engine)
    return owners


def line(length, **seeds):
    """Return a bar of 3 x 3 voxels along x in an empty layer, and seeds at the given x."""
    domain = np.zeros((5, 5, length + 2), bool)
    domain[1:-1, 1:-1, 1:-1] = True
    volume = np.zeros(domain.shape, np.int32)
    for number, x in seeds.items():
        volume[1:-1, 1:-1, x + 1] = int(number[1:])
    return volume, domain


@ENGINES
def test_one_seed_fills_what_it_can_reach(engine):
    seeds, domain = line(20, s7=3)
    domain[:, :, 12] = False
    owners = grown(seeds, domain, engine=engine)
    assert (owners[domain & (np.arange(22) < 12)] == 7).all()
    assert not owners[:, :, 12:].any()


@ENGINES
def test_two_fronts_meet_half_way(engine):
    seeds, domain = line(21, s1=0, s2=19)
    owners = grown(seeds, domain, engine=engine)
    assert (owners[1:-1, 1:-1, 1:11] == 1).all()
    assert (owners[1:-1, 1:-1, 11:22] == 2).all()


@ENGINES
def test_fronts_do_not_pass_through_edges(engine):
    domain = box((12, 12, 12), (1, (1, 6), (1, 11), (1, 6)), (1, (6, 11), (1, 11), (6, 11))) > 0
    seeds = np.zeros(domain.shape, np.int32)
    seeds[2, 2, 2] = 1
    np.testing.assert_array_equal(grown(seeds, domain, engine=engine), box(domain.shape, (1, (1, 6), (1, 11), (1, 6))))


@ENGINES
def test_seeds_outside_the_domain_stay_and_grow_in(engine):
    seeds, domain = line(10, s4=0)
    domain[seeds > 0] = False
    owners = grown(seeds, domain, engine=engine)
    assert (owners[domain] == 4).all()
    assert (owners[seeds > 0] == 4).all()


def test_nothing_to_do():
    seeds, domain = line(10)
    assert not grown(seeds, domain).any()
    seeds, domain = line(10, s1=2)
    np.testing.assert_array_equal(grown(seeds, np.zeros_like(domain)), seeds)


@ENGINES
def test_the_way_round_a_wall_counts_not_the_straight_line(engine):
    domain = np.zeros((3, 14, 14), bool)
    domain[1, 1:-1, 1:-1] = True
    domain[1, 1:11, 6] = False  # a wall that is open at its far end only
    seeds = np.zeros(domain.shape, np.int32)
    seeds[1, 1, 5] = 1
    seeds[1, 1, 12] = 2
    owners = grown(seeds, domain, engine=engine)
    assert owners[1, 1, 7] == 2  # two voxels from seed 1 through the wall, five from seed 2
    assert (owners[domain] > 0).all()


@ENGINES
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (1.0, 0.7, 1.6)])
def test_open_space_goes_to_the_nearest_seed(engine, spacing):
    domain = np.zeros((14, 20, 24), bool)
    domain[1:-1, 1:-1, 1:-1] = True
    seeds = np.zeros(domain.shape, np.int32)
    for number, where in enumerate([(4, 5, 5), (9, 14, 8), (6, 9, 19)], 1):
        seeds[tuple(slice(c - 1, c + 2) for c in where)] = number
    owners = grown(seeds, domain, spacing, engine)
    distances = np.sort(
        [ndimage.distance_transform_edt(seeds != number, sampling=spacing) for number in (1, 2, 3)], axis=0
    )
    nearest = np.argmin(
        [ndimage.distance_transform_edt(seeds != number, sampling=spacing) for number in (1, 2, 3)], axis=0
    )
    clear = domain & (distances[1] - distances[0] > 1.5 * max(spacing))
    assert clear.sum() > 0.4 * domain.sum()
    assert (owners[clear] == nearest[clear] + 1).mean() > 0.998


@ENGINES
def test_a_layer_between_two_seeds_goes_to_the_larger(engine):
    seeds, domain = line(21)
    seeds[1:-1, 1:-1, 1:6] = 1
    seeds[1:-1, 1:-1, 7:22] = 2
    owners = grown(seeds, domain, engine=engine)
    assert (owners[1:-1, 1:-1, 6] == 2).all()
    seeds[1:-1, 1:-1, 12:] = 0
    domain[:, :, 12:] = False
    assert (grown(seeds, domain, engine=engine)[1:-1, 1:-1, 6] == 1).all()  # of equals, the lower number


@pytest.mark.parametrize("order", AXIS_ORDERS)
def test_tight_places_are_all_filled(order):
    domain = np.pad(np.random.default_rng(4).random((10, 11, 12)) < 0.7, 1).transpose(order).copy()
    seeds = np.zeros(domain.shape, np.int32)
    for number, voxel in enumerate(np.argwhere(domain)[::70], 1):
        seeds[tuple(voxel)] = number
    parts, _ = ndimage.label(domain)
    reached = np.isin(parts, parts[seeds > 0]) & domain
    for engine in ("fmm", "watershed"):
        owners = grown(seeds, domain, engine=engine)
        np.testing.assert_array_equal(owners > 0, reached)
        for number in range(1, seeds.max() + 1):  # no owner is in two parts: fronts leave no island behind
            if engine == "fmm" and (owners == number).any():
                assert ndimage.label(owners == number)[1] == 1
