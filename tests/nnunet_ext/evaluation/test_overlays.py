"""The overlay page as a file: which cases, which voxels, how large, and strict about what may run in it."""

import base64
import dataclasses
import hashlib
import html
import json
import re
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_gen.errors import DataError, GridError, UsageError
from nnunet_ext.evaluation.overlay_cases import OverlayCase, choose_cases, read_case
from nnunet_ext.evaluation.overlays import write_overlays
from nnunet_ext.volumes import Volume, write_volume
from tests.nnunet_ext.evaluation.made_overlays import HOSTILE, LABELS, SPACING, boxes, case, volume


def scored(**scores):
    return [OverlayCase(name, volume(boxes()), {"m": volume(boxes())}, None, score) for name, score in scores.items()]


def names(chosen):
    return [(case.name, rank) for case, rank in chosen]


def test_worst_cases_come_first_then_the_best():
    cases = scored(a=0.5, b=0.9, c=0.1, d=None, e=0.7, f=float("nan"))
    assert names(choose_cases(cases, "dice", 2, 1)) == [("c", "worst"), ("a", "worst 2"), ("b", "best")]
    assert names(choose_cases(cases, "hd95_mm", 2, 1)) == [("b", "worst"), ("e", "worst 2"), ("c", "best")]
    assert names(choose_cases(scored(a=0.2, b=-0.5), "signed_volume_similarity", 1, 0)) == [("b", "worst")]
    all_cases = names(choose_cases(cases, "dice", 3, 2))
    assert all_cases == [("c", "worst"), ("a", "worst 2"), ("b", "best"), ("e", "best 2"), ("d", "no score")]
    for worst, best in ((0, 0), (-1, 3)):
        with pytest.raises(UsageError, match="at least one case has to be shown"):
            choose_cases(cases, "dice", worst, best)
    with pytest.raises(UsageError, match="Got twice: a"):
        choose_cases([*cases, *scored(a=1.0)], "dice", 1, 1)


def reassembled(shown, place):
    """Return the labels of one of the volumes that a case was combined of."""
    return np.array([0, *(kind[place] for kind in shown.kinds)])[shown.excerpt.indices]


def test_reference_and_predictions_become_one_volume():
    one = case()
    shown = read_case(one, ["much", "little"], labels=None, match=False, max_voxels=10**9)
    counts = dict(zip(shown.kinds, shown.counts, strict=True))
    assert counts == {
        (0, 1, 0): 14 * 20 * 4 + 20 * 3,
        (1, 1, 1): 14 * 20 * 20,
        (2, 2, 1): 14 * 20 * 6,
        (2, 2, 0): 14 * 20 * 4,
    }
    assert shown.spacing_mm == shown.excerpt.spacing_mm == SPACING
    where = boxes().nonzero()
    for place, array in enumerate([one.reference.array, *(found.array for found in one.predictions.values())]):
        np.testing.assert_array_equal(reassembled(shown, place)[reassembled(shown, 0).nonzero()], array[where])


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_any_labels_are_found_again(seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.choice([0, 0, 3, 250, 70_000], (4, 5, 6)).astype(np.uint32) for _ in range(3)]
    made = OverlayCase("a", volume(arrays[0]), {"m": volume(arrays[1]), "n": volume(arrays[2])})
    shown = read_case(made, ["m", "n"], labels=None, match=False, max_voxels=10**9)
    for place, array in enumerate(arrays):
        np.testing.assert_array_equal(reassembled(shown, place), array)
    assert sum(shown.counts) == np.count_nonzero(np.any(arrays, axis=0))


def test_labels_are_chosen_and_fragments_matched():
    truth, found = boxes(), boxes()
    found[truth == 1], found[truth == 2], found[0, 0, 0] = 7, 1, 9
    made = OverlayCase("a", volume(truth), {"m": volume(found)})
    kinds = read_case(made, ["m"], labels=None, match=True, max_voxels=10**9).kinds
    assert set(kinds) == {(1, 1), (2, 2), (0, 10)}
    kinds = read_case(made, ["m"], labels=[1], match=False, max_voxels=10**9).kinds
    assert set(kinds) == {(1, 0), (0, 1)}
    empty = OverlayCase("a", volume(np.zeros((3, 4, 5), np.uint8)), {"m": volume(np.zeros((3, 4, 5), bool))})
    assert read_case(empty, ["m"], labels=None, match=True, max_voxels=100).kinds == ()


def test_coarsened_cases_keep_the_counts_of_the_whole():
    fine = read_case(case(), ["much", "little"], labels=None, match=False, max_voxels=10**9)
    coarse = read_case(case(), ["much", "little"], labels=None, match=False, max_voxels=5_000)
    assert np.prod(coarse.excerpt.indices.shape) <= 5_000
    assert dict(zip(coarse.kinds, coarse.counts, strict=True)) == dict(zip(fine.kinds, fine.counts, strict=True))
    assert coarse.spacing_mm == SPACING
    assert max(coarse.excerpt.spacing_mm) > 2.0


def test_volumes_that_do_not_fit_are_refused():
    good = case()
    with pytest.raises(UsageError, match="case 'a' has no prediction of other"):
        read_case(good, ["much", "other"], labels=None, match=False, max_voxels=100)
    moved = dataclasses.replace(good, ct=Volume(boxes().astype(np.int16), (1.0, 1.0, 1.0)))
    with pytest.raises(GridError, match="'a, CT' and 'a, reference' are on different grids"):
        read_case(moved, ["much"], labels=None, match=False, max_voxels=100)
    with pytest.raises(DataError, match="whole numbers"):
        read_case(
            dataclasses.replace(good, reference=volume(boxes() / 2)), ["much"], labels=None, match=False, max_voxels=9
        )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of three cases, of which two are shown; one is hostile."""
    path = tmp_path_factory.mktemp("page") / "overlays.html"
    cases = [case("good"), case(HOSTILE, score=0.5), case("middle", score=0.7)]
    assert write_overlays(path, cases, labels=LABELS, worst=1, best=1, title=HOSTILE) == [HOSTILE, "good"]
    return path.read_text(encoding="utf-8")


def block(text, name):
    return json.loads(text.split(f'id="{name}">')[1].split("</script>")[0])


def test_page_holds_the_cases_and_says_what_is_left_out(page):
    content = block(page, "data")
    assert content["models"] == ["much", "little"]
    assert content["structures"] == [{"number": 1, "name": "femur"}, {"number": 2, "name": "left tibia"}]
    assert [about["name"] for about in content["cases"]] == [HOSTILE, "good"]
    about, stored = content["cases"][1], block(page, "volume-1")
    shown = read_case(case(), content["models"], labels=[1, 2], match=False, max_voxels=10**9)
    assert about["shape"] == list(shown.excerpt.indices.shape)
    assert about["counts"] == list(shown.counts)
    labels = np.frombuffer(zlib.decompress(base64.b64decode(stored["labels"])), np.uint8).reshape(about["shape"])
    np.testing.assert_array_equal(labels, shown.excerpt.indices)
    assert len(stored["slices"]) == about["shape"][0]
    assert "2 of 3 cases shown" in page
    assert "Left out: 1 case between the worst and the best." in page
    assert "Coarsened" not in page


def test_page_is_sealed(page):
    assert not re.search(r"https?:|ftp:|@import|url\(", page)
    assert "<script>alert" not in page
    assert html.escape(HOSTILE) in page
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    for text in (script, style):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in page
    assert "{{" not in page.split("<script>")[0]
    assert not re.search(r"<[a-z]+ [^>]*\b(?:style|on\w+)=", page.split("<script")[0])


def test_same_cases_give_the_same_bytes(page, tmp_path):
    cases = [case("good"), case(HOSTILE, score=0.5), case("middle", score=0.7)]
    write_overlays(tmp_path / "again.html", cases, labels=LABELS, worst=1, best=1, title=HOSTILE)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_page_keeps_within_its_limit(tmp_path):
    path = tmp_path / "page.html"
    cases = [case(f"case_{number}", score=number) for number in range(4)]
    assert len(write_overlays(path, cases)) == 4
    limit = path.stat().st_size - 2_000
    assert len(write_overlays(path, cases, max_bytes=limit)) in (1, 2, 3, 4)
    assert path.stat().st_size <= limit
    with pytest.raises(UsageError, match="has no room for case 'case_0'"):
        write_overlays(path, cases, max_bytes=48_000)
    write_overlays(path, cases, max_voxels=3_000)
    assert "Coarsened (z, y, x), so that thin errors may be missing: case_0" in path.read_text(encoding="utf-8")


def test_only_files_of_shown_cases_are_read(tmp_path):
    write_volume(volume(boxes()), tmp_path / "truth.nii.gz")
    truth = tmp_path / "truth.nii.gz"
    cases = [
        OverlayCase("a", truth, {"m": truth}, truth, 0.2),
        OverlayCase("b", tmp_path / "none.nii.gz", {"m": truth}, None, 0.9),
    ]
    assert write_overlays(tmp_path / "page.html", cases, worst=1, best=0) == ["a"]
    assert str(tmp_path) not in (tmp_path / "page.html").read_text(encoding="utf-8")
    with pytest.raises(OSError, match=r"none\.nii\.gz"):
        write_overlays(tmp_path / "other.html", cases)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "truth.nii.gz"]


def test_wrong_use_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"has to end in \.html"):
        write_overlays(tmp_path / "page.png", [case()])
    with pytest.raises(UsageError, match="no case to show"):
        write_overlays(tmp_path / "page.html", [])
    assert list(tmp_path.iterdir()) == []
