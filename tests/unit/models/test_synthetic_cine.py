"""The synthetic heart: exact labels, plausible physiology, the contrast of a bSSFP cine."""

import subprocess
import sys

import numpy as np
import pytest

from models.synthetic.cine import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    SyntheticCine,
    synthesise_cine,
)
from models.synthetic.heart import contraction_curve, draw_heart, rv_quadrature

SEEDS = (0, 1, 2, 3, 4, 5, 6, 7)
FIELDS = ("lv_edv", "lv_esv", "rv_edv", "rv_esv", "lv_mass")


@pytest.fixture(scope="module")
def cines() -> list[SyntheticCine]:
    return [synthesise_cine(seed, phases=10) for seed in SEEDS]


def curve_ml(cine: SyntheticCine, label: int) -> np.ndarray:
    return np.count_nonzero(cine.labels == label, axis=(1, 2, 3)) * cine.voxel_ml


def test_the_same_seed_gives_the_same_heart_and_another_seed_another() -> None:
    first, again, other = (synthesise_cine(s, phases=2, rows=96, columns=96) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.truth == again.truth
    assert first.truth["lv_edv_analytic"] != other.truth["lv_edv_analytic"]


def test_shapes_types_and_times(cines: list[SyntheticCine]) -> None:
    cine = cines[0]
    assert cine.frames.shape == cine.labels.shape == (10, 12, 192, 192)
    assert (cine.frames.dtype, cine.labels.dtype) == (np.float32, np.uint8)
    assert cine.frames.min() >= 0
    assert np.isfinite(cine.frames).all()
    assert set(np.unique(cine.labels)) == {0, LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY}
    assert cine.trigger_times_ms[0] == 0
    np.testing.assert_allclose(np.diff(cine.trigger_times_ms), 6000 / cine.heart_rate_bpm)


@pytest.mark.parametrize("index", range(len(SEEDS)))
def test_labels_meet_the_geometry(cines: list[SyntheticCine], index: int) -> None:
    truth = cines[index].truth
    for field in FIELDS:
        assert truth[field] == pytest.approx(truth[f"{field}_analytic"], rel=0.03), field
    assert truth["lv_ef"] == pytest.approx(truth["lv_ef_analytic"], abs=1)


@pytest.mark.parametrize("index", range(len(SEEDS)))
def test_truth_is_the_count_of_labels(cines: list[SyntheticCine], index: int) -> None:
    cine = cines[index]
    lv, rv, shell = (curve_ml(cine, label) for label in (LV_CAVITY, RV_CAVITY, LV_MYOCARDIUM))
    assert cine.truth["lv_edv"] == pytest.approx(lv[cine.ed])
    assert cine.truth["rv_esv"] == pytest.approx(rv[cine.es])
    assert cine.truth["lv_mass"] == pytest.approx(1.055 * shell[cine.ed])
    assert (lv.argmax(), lv.argmin()) == (cine.ed, cine.es)
    assert (rv.argmax(), rv.argmin()) == (cine.ed, cine.es)


@pytest.mark.parametrize("index", range(len(SEEDS)))
def test_either_end_of_the_stack_lies_beyond_the_ventricle(
    cines: list[SyntheticCine], index: int
) -> None:
    shows_lv = np.isin(cines[index].labels, (LV_CAVITY, LV_MYOCARDIUM)).any(axis=(0, 2, 3))
    assert not shows_lv[0]
    assert not shows_lv[-1]
    relevant = np.flatnonzero(shows_lv)
    assert len(relevant) == relevant[-1] - relevant[0] + 1


@pytest.mark.parametrize("index", range(len(SEEDS)))
def test_contrast_is_that_of_bssfp(cines: list[SyntheticCine], index: int) -> None:
    """Blood bright, myocardium a fraction of it, whatever the seed; measured over all of ED."""
    cine = cines[index]
    frames, labels = cine.frames[cine.ed], cine.labels[cine.ed]
    blood, muscle, rv = (
        np.median(frames[labels == label]) for label in (LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY)
    )
    assert 2 < blood / muscle < 6
    assert 1.5 < rv / muscle < 6
    assert np.percentile(frames, 5) < 0.2 * blood


def test_hearts_span_the_adult_range() -> None:
    hearts = [draw_heart(np.random.default_rng(seed), 20, 10.0, 100.0) for seed in range(300)]
    edv = np.array([heart.lv_ml[0] for heart in hearts])
    ef = np.array([100 * (1 - heart.lv_ml[heart.es] / heart.lv_ml[0]) for heart in hearts])
    wall = np.array([heart.epi_radius_mm[0] - heart.endo_radius_mm[0] for heart in hearts])
    assert 80 <= edv.min() < 90 < 240 < edv.max() <= 260
    assert 20 <= ef.min() < 25 < 65 < ef.max() <= 70
    assert 7 - 1e-6 <= wall.min() < 8 < 13 < wall.max() <= 14 + 1e-6
    assert {heart.es for heart in hearts} == {6, 7, 8, 9}


def test_walls_thicken_shorten_and_never_cross() -> None:
    for seed in range(100):
        heart = draw_heart(np.random.default_rng(seed), 20, 10.0, 100.0)
        wall = heart.epi_radius_mm - heart.endo_radius_mm
        assert wall.min() > 0
        assert wall[heart.es] > wall[0]
        assert heart.epi_length_mm[heart.es] < heart.epi_length_mm[0]
        np.testing.assert_allclose(heart.base_mm + heart.epi_length_mm, heart.apex_mm)
        for level_mm in np.arange(0.5, heart.apex_mm, 3):
            endo, epi = heart.endo_radius_at(level_mm), heart.epi_radius_at(level_mm)
            assert np.all((epi > endo) | (epi == 0))


def test_rv_depth_gives_the_rv_volume() -> None:
    heart = draw_heart(np.random.default_rng(5), 20, 10.0, 100.0)
    linear, square = rv_quadrature(heart)
    depth = heart.rv_depth_mm
    np.testing.assert_allclose(linear * depth + square * depth**2, heart.rv_ml)
    assert depth.min() > 0


def test_contraction_has_one_end_systole_a_diastasis_and_an_atrial_kick() -> None:
    curve = contraction_curve(40, 14, 0.2)
    assert (curve[0], curve[14]) == (0, 1)
    assert np.all(np.diff(curve[:15]) > 0)
    assert np.all(np.diff(curve[14:]) <= 1e-12)
    np.testing.assert_allclose(curve[26:33], 0.2)
    assert 0 < curve[-1] < 0.05


@pytest.mark.parametrize("ed_phase", [1, 9])
def test_the_cycle_can_start_anywhere(cines: list[SyntheticCine], ed_phase: int) -> None:
    rolled = synthesise_cine(SEEDS[1], phases=10, ed_phase=ed_phase)
    assert rolled.ed == ed_phase
    assert rolled.es == (cines[1].es + ed_phase) % 10
    np.testing.assert_array_equal(rolled.labels[ed_phase], cines[1].labels[0])
    np.testing.assert_array_equal(rolled.frames[ed_phase], cines[1].frames[0])
    assert rolled.truth == cines[1].truth


def test_pixels_that_are_not_square_show_the_same_heart(cines: list[SyntheticCine]) -> None:
    cine = synthesise_cine(SEEDS[1], phases=10, rows=160, columns=256, pixel_spacing_mm=(2.0, 1.2))
    for field in FIELDS:
        assert cine.truth[field] == pytest.approx(cines[1].truth[field], rel=0.02), field
    rows, columns = (np.ptp(np.nonzero(cine.labels == LV_CAVITY)[axis]) for axis in (2, 3))
    assert rows * 2.0 == pytest.approx(columns * 1.2, rel=0.15)


@pytest.mark.parametrize("offset_mm", [(60.0, 0.0), (0.0, -60.0), (-42.0, 42.0)])
def test_the_heart_lies_where_it_was_put(
    cines: list[SyntheticCine], offset_mm: tuple[float, float]
) -> None:
    moved = synthesise_cine(SEEDS[1], phases=10, heart_offset_mm=offset_mm)
    for axis, shift_mm in zip((2, 3), offset_mm, strict=True):
        centred, there = (np.nonzero(c.labels)[axis].mean() * 1.6 for c in (cines[1], moved))
        assert there - centred == pytest.approx(shift_mm, abs=0.5)
    assert abs(np.nonzero(cines[1].labels)[2].mean() - 95.5) * 1.6 < 15


def test_uneven_breath_holds_move_slices_and_keep_areas() -> None:
    still, shifted = (
        synthesise_cine(2, phases=2, breath_shift_mm=shift_mm) for shift_mm in (0.0, 4.0)
    )
    lv = [(cine.labels[0] == LV_CAVITY).sum(axis=(1, 2)) for cine in (still, shifted)]
    np.testing.assert_allclose(lv[1], lv[0], atol=12)
    centres = [
        np.argwhere(cine.labels[0, 4] == LV_CAVITY).mean(axis=0) for cine in (still, shifted)
    ]
    assert np.hypot(*(centres[1] - centres[0])) > 0.3


@pytest.mark.parametrize(("slices", "spacing_mm"), [(6, 8.0), (10, 8.0), (16, 6.0), (7, 12.5)])
def test_other_stacks_hold_the_whole_ventricle(slices: int, spacing_mm: float) -> None:
    cine = synthesise_cine(5, phases=4, slices=slices, slice_spacing_mm=spacing_mm)
    assert cine.slice_thickness_mm == pytest.approx(0.8 * spacing_mm)
    assert not cine.labels[:, [0, -1]].any()
    for field in FIELDS:
        assert cine.truth[field] == pytest.approx(cine.truth[f"{field}_analytic"], rel=0.05), field


def test_two_phases_are_ed_and_es() -> None:
    cine = synthesise_cine(6, phases=2, ed_phase=1)
    assert (cine.ed, cine.es) == (1, 0)
    assert cine.truth["lv_ef"] > 15


@pytest.mark.parametrize(
    "wrong",
    [
        {"phases": 1},
        {"ed_phase": 20},
        {"ed_phase": -1},
        {"slices": 5, "slice_spacing_mm": 8.0},
        {"rows": 0},
        {"pixel_spacing_mm": (0.0, 1.0)},
        {"slice_thickness_mm": -1.0},
    ],
)
def test_a_heart_that_does_not_fit_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"too few|no cycle|positive"):
        synthesise_cine(1, **wrong)


def test_numpy_is_enough() -> None:
    code = (
        "import sys; from models.synthetic.cine import synthesise_cine as make;"
        "make(1, phases=2, rows=64, columns=64);"
        "sys.exit(bool({'torch', 'scipy', 'pydicom'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
