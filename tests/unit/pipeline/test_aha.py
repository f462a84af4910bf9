"""AHA segments: right in any orientation of the images, transmurality against the geometry."""

from functools import cache

import numpy as np
import pytest

from models.synthetic.lge import NO_REFLOW, SCAR, SyntheticLge, synthesise_lge
from pipeline.aha import (
    Insertion,
    aha_segments,
    insertion_angles,
    lv_levels,
    septa,
    transmurality,
)
from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY

SPACING_MM = 1.4


@cache
def heart(seed: int) -> SyntheticLge:
    return synthesise_lge(seed, rows=128, columns=128)


def masks(lge: SyntheticLge) -> dict[str, np.ndarray]:
    return {
        "cavity": lge.labels == LV_CAVITY,
        "myocardium": np.isin(lge.labels, (LV_MYOCARDIUM, SCAR, NO_REFLOW)),
        "rv": lge.labels == RV_CAVITY,
        "scar": np.isin(lge.labels, (SCAR, NO_REFLOW)),
    }


def affine_of(slices: int = 12, turn: np.ndarray | None = None) -> np.ndarray:
    """Usual short axis: seen from the apex the RV is on the left, slices from base to apex."""
    affine = np.diag([SPACING_MM, SPACING_MM, -10.0, 1.0])
    affine[:3, 3] = (-90, -90, 60)
    if turn is not None:
        affine[:3] = turn @ affine[:3]
    return affine


def rv_insertion_angles(cavity, myocardium, rv, affine, *, apex_last):
    """Angles of the insertions from an RV mask of the same stack."""
    found = septa(cavity, myocardium, rv, affine, apex_last=apex_last)
    return insertion_angles(found, cavity, affine)


def assessed(lge, affine, parts=None, *, apex_last: bool = True) -> dict[int, float]:
    m = parts or masks(lge)
    found = rv_insertion_angles(m["cavity"], m["myocardium"], m["rv"], affine, apex_last=apex_last)
    levels = lv_levels(m["cavity"], m["myocardium"], apex_last=apex_last)
    spacing = (float(np.linalg.norm(affine[:3, 1])), float(np.linalg.norm(affine[:3, 0])))
    segments = aha_segments(m["cavity"], m["myocardium"], found, levels, spacing)
    return dict(transmurality(m["scar"], m["myocardium"], m["cavity"], segments))


@pytest.mark.parametrize("seed", range(6))
def test_transmurality_is_that_of_the_geometry(seed: int) -> None:
    lge = heart(seed)
    found = assessed(lge, affine_of())
    assert set(found) == set(lge.transmurality) == set(range(1, 17))
    for segment, share in lge.transmurality.items():
        assert found[segment] == pytest.approx(share, abs=0.06), segment
    assert max(found.values()) > 0.25


def rotation(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


@pytest.mark.parametrize("seed", range(3))
def test_any_oblique_stack_shows_the_same_segments(seed: int) -> None:
    lge = heart(1)
    assert assessed(lge, affine_of(turn=rotation(seed))) == pytest.approx(
        assessed(lge, affine_of()), abs=1e-6
    )


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_flipped_stacks_show_the_same_segments(axes: tuple[int, ...]) -> None:
    """Reverse slices, rows or columns, and say so in the affine: the same heart."""
    lge, affine = heart(2), affine_of(turn=rotation(5))
    reversing = np.eye(4)
    for axis in axes:
        column = 2 - axis
        reversing[column, column] = -1
        reversing[column, 3] = lge.labels.shape[axis] - 1
    flipped = {name: np.flip(mask, axes) for name, mask in masks(lge).items()}
    found = assessed(lge, affine @ reversing, flipped, apex_last=0 not in axes)
    assert found == pytest.approx(assessed(lge, affine), abs=0.02)


def test_turned_images_show_the_same_segments() -> None:
    lge, affine = heart(2), affine_of()
    turned = {name: np.rot90(mask, axes=(1, 2)) for name, mask in masks(lge).items()}
    turning = np.eye(4)  # old x = 127 - new y, old y = new x
    turning[:2] = [[0, -1, 0, 127], [1, 0, 0, 0]]
    assert assessed(lge, affine @ turning, turned) == pytest.approx(assessed(lge, affine), abs=0.02)


def test_pixels_that_are_not_square_show_the_same_segments() -> None:
    lge = heart(0)
    every_other = {name: mask[:, ::2] for name, mask in masks(lge).items()}
    affine = affine_of() @ np.diag([1, 2, 1, 1])
    assert assessed(lge, affine, every_other) == pytest.approx(assessed(lge, affine_of()), abs=0.08)


def test_the_anterior_insertion_is_the_anterior_one() -> None:
    """Seen from the apex with the RV on the left, anterior lies above: at a smaller row."""
    m = masks(heart(0))
    found = rv_insertion_angles(m["cavity"], m["myocardium"], m["rv"], affine_of(), apex_last=True)
    shown = [place for place in found if place is not None]
    assert len(shown) == np.count_nonzero(m["cavity"].any(axis=(1, 2)))
    for place in shown:
        assert np.sin(place.anterior) < np.sin(place.inferior)
        assert np.cos((place.anterior + place.inferior) / 2) < 0  # the septum is on the left
        assert 90 < np.degrees(abs(place.inferior - place.anterior)) < 180


def test_cine_of_the_study_gives_the_insertions_in_patient_coordinates() -> None:
    """Another field of view, pixel size, turn and breath-hold of the same heart."""
    lge, affine = heart(4), affine_of(turn=rotation(8))
    m = masks(lge)
    own = rv_insertion_angles(m["cavity"], m["myocardium"], m["rv"], affine, apex_last=True)
    cine = {name: np.flip(mask, (0, 2))[:, ::2, ::2] for name, mask in m.items()}
    moving = np.eye(4)
    moving[0, 0] = moving[2, 2] = -1
    moving[0, 3], moving[2, 3] = 127, 11
    cine_affine = affine @ moving @ np.diag([2, 2, 1, 1])
    cine_affine[:3, 3] += affine[:3, :3] @ [5, -4, 0.3]
    seen = septa(cine["cavity"], cine["myocardium"], cine["rv"], cine_affine, apex_last=False)
    carried = insertion_angles(seen, m["cavity"], affine)
    for ours, theirs in zip(own, carried, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert np.cos(ours.anterior - theirs.anterior) > np.cos(np.radians(8))
            assert np.cos(ours.inferior - theirs.inferior) > np.cos(np.radians(8))


def test_a_cine_of_another_plane_gives_none() -> None:
    m = masks(heart(4))
    seen = septa(m["cavity"], m["myocardium"], m["rv"], affine_of(), apex_last=True)
    tilt = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    assert set(insertion_angles(seen, m["cavity"], affine_of(turn=tilt))) == {None}


def test_without_rv_no_insertion_no_segment_no_transmurality() -> None:
    m = masks(heart(0))
    nothing = m["rv"] & False
    found = rv_insertion_angles(m["cavity"], m["myocardium"], nothing, affine_of(), apex_last=True)
    assert set(found) == {None}
    segments = aha_segments(m["cavity"], m["myocardium"], found, [1] * len(found), (1.4, 1.4))
    assert not segments.any()
    assert transmurality(m["scar"], m["myocardium"], m["cavity"], segments) == {}


def test_an_rv_that_lies_apart_gives_no_insertion() -> None:
    m = masks(heart(0))
    away = np.roll(m["rv"], -12, axis=2)
    away &= np.cumsum(m["rv"], axis=2) == 0
    found = rv_insertion_angles(m["cavity"], m["myocardium"], away, affine_of(), apex_last=True)
    assert set(found) == {None}


def test_levels_are_thirds_from_the_base() -> None:
    shown = np.zeros((11, 2, 2), dtype=bool)
    shown[1:10] = True
    assert lv_levels(shown, shown, apex_last=True) == (0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0)
    assert lv_levels(shown, shown, apex_last=False) == (0, 3, 3, 3, 2, 2, 2, 1, 1, 1, 0)
    assert lv_levels(shown & False, shown, apex_last=True) == (0,) * 11


@pytest.mark.parametrize("direction", [1, -1])
def test_segments_follow_cerqueira_around_the_wall(direction: int) -> None:
    """A septum of 120 degrees: every basal segment spans 60, every apical one 90."""
    rows, columns = np.mgrid[:81, :81] - 40.0
    radius = np.hypot(rows, columns)
    cavity, wall = (radius < 15)[None], ((radius >= 15) & (radius < 30))[None]
    place = Insertion(0.3, 0.3 + direction * np.radians(120))
    expected = {1: [2, 3, 4, 5, 6, 1], 2: [8, 9, 10, 11, 12, 7]}
    for level, order in expected.items():
        segments = aha_segments(cavity, wall, [place], [level], (1, 1))[0]
        for step, segment in enumerate(order):
            angle = 0.3 + direction * np.radians(60 * step + 30)
            at = (round(40 + 22 * np.sin(angle)), round(40 + 22 * np.cos(angle)))
            assert segments[at] == segment
            assert np.mean(segments[wall[0]] == segment) == pytest.approx(1 / 6, abs=0.01)
    apical = aha_segments(cavity, wall, [place], [3], (1, 1))[0]
    for step, segment in enumerate([14, 15, 16, 13]):
        angle = 0.3 + direction * np.radians(60 + 90 * step)
        assert apical[round(40 + 22 * np.sin(angle)), round(40 + 22 * np.cos(angle))] == segment
        assert np.mean(apical[wall[0]] == segment) == pytest.approx(1 / 4, abs=0.01)


def test_transmurality_is_the_share_of_the_depth() -> None:
    rows, columns = np.mgrid[:101, :101] - 50.0
    radius = np.hypot(rows, columns)
    cavity, wall = (radius < 20)[None], ((radius >= 20) & (radius < 40))[None]
    place = Insertion(np.pi, np.pi + np.radians(120))
    segments = aha_segments(cavity, wall, [place], [1], (1, 1))
    scar = wall & (radius < 28)[None] & (segments == 2)
    found = transmurality(scar, wall, cavity, segments)
    assert found[2] == pytest.approx(0.4, abs=0.03)
    assert [found[n] for n in (1, 3, 4, 5, 6)] == pytest.approx([0] * 5, abs=0.01)
