"""Wall thickness: chords against plain geometry, segments against the synthetic heart."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from models.synthetic.chambers import draw_look
from models.synthetic.cine import Scene, slice_levels
from models.synthetic.heart import Heart, draw_heart
from models.synthetic.view import View
from pipeline.aha import aha_segments, insertion_angles, lv_levels, septa
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    CineCase,
    Phases,
    Relevance,
    Segmentation,
)
from pipeline.stages.biomarkers import WALL
from pipeline.stages.wall import MeasureWall, little_thickening
from pipeline.wall import wall_chords
from tests.unit.pipeline.cine_cases import label_stack, value, withheld

SEGMENTS = range(1, 17)


def distance(spacing, rows=128, columns=128, centre=(3.3, -2.1)):
    y, x = np.mgrid[:rows, :columns]
    down, right = (
        (y - rows / 2) * spacing[0] - centre[0],
        (x - columns / 2) * spacing[1] - centre[1],
    )
    return down, right, np.hypot(down, right)


@pytest.mark.parametrize("spacing", [(1.4, 1.4), (2.0, 1.3)])
@pytest.mark.parametrize(("inner", "outer"), [(20, 28), (10, 20), (25, 29), (5, 12)])
def test_a_round_wall_is_as_thick_as_it_is(spacing, inner, outer):
    *_, radius = distance(spacing)
    chords = wall_chords(radius < inner, (radius >= inner) & (radius < outer), spacing)
    assert chords.closed.all()
    assert chords.thickness_mm.mean() == pytest.approx(outer - inner, abs=0.3)
    assert chords.thickness_mm.std() < 0.4


def test_an_oval_wall_is_measured_across_not_away_from_the_centre():
    """A wall of 8 mm about an oval of 1:2; along radii it is up to 9.9 mm thick."""
    down, right, _ = distance((1.0, 1.0), 160, 160)
    angles = np.linspace(0, 2 * np.pi, 4000)
    oval = np.stack([15 * np.sin(angles), 30 * np.cos(angles)], axis=1)
    inside = np.hypot(down / 15, right / 30) < 1
    points = np.stack([down, right], axis=-1).reshape(-1, 2)
    near = np.array([np.min(np.hypot(*(oval - point).T)) for point in points]).reshape(down.shape)
    chords = wall_chords(inside, ~inside & (near < 8), (1.0, 1.0))
    assert chords.thickness_mm.mean() == pytest.approx(8, abs=0.15)
    assert chords.thickness_mm.max() < 9


def test_where_the_wall_is_open_no_thickness_counts():
    down, right, radius = distance((1.4, 1.4), centre=(0, 0))
    gap = (right > 0) & (np.abs(down) < 8)
    chords = wall_chords(radius < 20, (radius >= 20) & (radius < 28) & ~gap, (1.4, 1.4))
    assert np.all(np.abs(np.degrees(chords.angle[~chords.closed])) < 35)
    assert np.count_nonzero(~chords.closed) > 10
    assert chords.thickness_mm[chords.closed].min() > 6.9


def test_a_direction_that_meets_no_outline_has_no_thickness():
    """As across the kinks of a star, which failed labels may look like."""
    down, right, radius = distance((1.0, 1.0), rows=64, columns=64, centre=(0.0, 0.0))
    star = 8 * (1 + 0.6 * np.cos(5 * np.arctan2(down, right) + 5.5))
    cavity = radius < star
    chords = wall_chords(cavity, (radius < star + 6) & ~cavity, (1.5, 1.5))
    assert not np.isfinite(chords.thickness_mm).all()
    assert np.isfinite(chords.thickness_mm[chords.closed]).all()


@pytest.mark.parametrize("inner", [0, 0.5])
def test_without_an_outline_there_are_no_chords(inner):
    *_, radius = distance((1.4, 1.4), centre=(0, 0))
    assert wall_chords(radius < inner, (radius >= inner) & (radius < 8), (1.4, 1.4)) is None


@cache
def drawn(
    seed: int, spacing_mm: float = 10.0
) -> tuple[Heart, Scene, tuple[float, ...], np.ndarray]:
    """Heart, scene, levels and labels [t, z, y, x] of a synthetic stack."""
    random = np.random.default_rng(seed)
    heart = draw_heart(random, 10, spacing_mm, 100.0)
    scene = Scene(heart, None, draw_look(random, heart, 1.0), spacing_mm)
    levels = tuple(slice_levels(random, heart, round(120 / spacing_mm), spacing_mm))
    view = View.of((128, 128), (1.4, 1.4), np.zeros(2), scene.look.angle)
    return heart, scene, levels, np.stack([scene.label(view, at) for at in levels], axis=1)


def case_of(labels: np.ndarray, es: int, spacing_mm: float = 10.0) -> CineCase:
    stack = label_stack(labels, pixel_spacing_mm=(1.4, 1.4), slice_spacing_mm=spacing_mm)
    relevant = tuple(np.isin(labels, (1, 2)).any(axis=(0, 2, 3)).tolist())
    return CineCase(
        stack,
        relevance=Relevance(np.array(relevant, float), relevant, (64.0, 64.0)),
        phases=Phases(0, es),
        segmentation=Segmentation(labels),
    )


def true_thickness(seed: int, phase: int) -> dict[int, float]:
    """Mean distance in mm of the drawn walls, on pixels midway between, per segment."""
    heart, scene, levels, labels = drawn(seed)
    stack = label_stack(labels, pixel_spacing_mm=(1.4, 1.4))
    ed, now = labels[0], labels[phase]
    known = septa(
        ed == LV_CAVITY, ed == LV_MYOCARDIUM, ed == RV_CAVITY, stack.affine, apex_last=True
    )
    cavity, wall = now == LV_CAVITY, now == LV_MYOCARDIUM
    places = insertion_angles(known, cavity, stack.affine)
    thirds = lv_levels(cavity, wall, apex_last=True)
    segments = aha_segments(cavity, wall, places, thirds, (1.4, 1.4))
    view = View.of((128, 128), (1.4, 1.4), np.zeros(2), scene.look.angle)
    everywhere = (slice(None), slice(None))
    found: dict[int, list[float]] = {}
    for z, level in enumerate(levels):
        radius, angle = view.polar(scene.look.centre_at(level), everywhere)
        inner = heart.endo_radius_at(level)[phase] * heart.endo(angle)
        outer = heart.epi_radius_at(level)[phase] * heart.epi(angle)
        midway = np.abs(radius - (inner + outer) / 2) < 1.0
        for segment in SEGMENTS:
            found.setdefault(segment, []).extend(
                (outer - inner)[midway & (segments[z] == segment)].tolist()
            )
    return {segment: float(np.mean(each)) for segment, each in found.items()}


@pytest.mark.parametrize("seed", range(4))
def test_the_synthetic_heart_is_measured_to_half_a_millimetre(seed):
    heart, _, _, labels = drawn(seed)
    case = MeasureWall()(case_of(labels, heart.es))
    ed, es = true_thickness(seed, 0), true_thickness(seed, heart.es)
    errors = [
        [value(case, f"{phase}_wall_thickness_{n}") - truth[n] for n in SEGMENTS]
        for phase, truth in (("ed", ed), ("es", es))
    ]
    assert np.abs(errors).max() < 0.6
    assert np.abs(np.mean(errors, axis=1)).max() < 0.15
    for n in SEGMENTS:
        thickening = value(case, f"wall_thickening_{n}")
        assert thickening == pytest.approx(
            value(case, f"es_wall_thickness_{n}") - value(case, f"ed_wall_thickness_{n}")
        )
        assert thickening == pytest.approx(es[n] - ed[n], abs=0.7)


def test_every_segment_has_a_name_once_and_the_apex_is_not_assessed():
    heart, _, _, labels = drawn(0)
    case = MeasureWall()(case_of(labels, heart.es))
    assert tuple(one.name for one in case.biomarkers) == WALL
    assert {one.unit for one in case.biomarkers} == {"mm"}
    for name in ("ed_wall_thickness_17", "es_wall_thickness_17", "wall_thickening_17"):
        assert withheld(case, name).startswith("segment 17 is not assessed")


def test_a_wall_that_does_not_move_is_marked():
    labels = drawn(0)[3]
    case = MeasureWall()(case_of(labels, 0))
    assert little_thickening(case.biomarkers) == tuple(SEGMENTS)
    moving = MeasureWall()(case_of(labels, drawn(0)[0].es))
    assert len(little_thickening(moving.biomarkers)) < 16


def test_without_the_right_ventricle_nothing_is_numbered():
    heart, _, _, labels = drawn(0)
    alone = np.where(labels == RV_CAVITY, 0, labels).astype(np.uint8)
    case = MeasureWall()(case_of(alone, heart.es))
    assert all(one.value is None for one in case.biomarkers)
    assert "insertions of the right ventricle are not known" in withheld(case, "wall_thickening_3")


def test_a_segment_whose_wall_is_open_is_withheld_with_the_reason_and_only_that():
    heart, scene, levels, labels = drawn(0)
    whole = MeasureWall()(case_of(labels, heart.es))
    view = View.of((128, 128), (1.4, 1.4), np.zeros(2), scene.look.angle)
    opened = labels.copy()
    for z, level in enumerate(levels):
        _, angle = view.polar(scene.look.centre_at(level), (slice(None), slice(None)))
        gap = np.abs(np.angle(np.exp(1j * (angle - np.pi)))) < 0.4  # in the free wall
        opened[:, z][(labels[:, z] == LV_MYOCARDIUM) & gap] = 0
    case = MeasureWall()(case_of(opened, heart.es))
    gone = {n for n in SEGMENTS if value(case, f"ed_wall_thickness_{n}") is None}
    assert gone == {5, 6, 11, 12, 16}
    for n in gone:
        assert withheld(case, f"ed_wall_thickness_{n}") == (
            f"the wall of segment {n} is open in the images"
        )
    for n in set(SEGMENTS) - gone:
        name = f"ed_wall_thickness_{n}"
        assert value(case, name) == pytest.approx(value(whole, name), abs=0.3)


def test_an_empty_ventricle_is_withheld():
    _, _, _, labels = drawn(0)
    emptied = labels.copy()
    emptied[5][emptied[5] == LV_CAVITY] = 0
    case = MeasureWall()(case_of(emptied, 5))
    assert value(case, "ed_wall_thickness_7") is not None
    assert withheld(case, "es_wall_thickness_7") == "the images show no wall of segment 7"
    assert withheld(case, "wall_thickening_7") == "the images show no wall of segment 7"


def test_needs_phases_and_label_maps():
    with pytest.raises(ValueError, match="after detection and segmentation"):
        MeasureWall()(replace(case_of(drawn(0)[3], 3), phases=None))
