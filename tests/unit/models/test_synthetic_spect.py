"""Synthetic perfusion tomograms: defects where and when they are said to be, and real looks."""

import subprocess
import sys

import numpy as np
import pytest

from models.spect_sheet import through_wall
from models.synthetic.perfusion import Defect, draw_defect, segment_of
from models.synthetic.spect import KINDS, synthesise_spect


def uptake(study, view, angle, polar):
    """Counts of places of the wall, relative to the highest tenth of it."""
    around, along = np.meshgrid(np.arange(36) * np.pi / 18, np.linspace(0.2, 0.85, 12))
    tomogram, lv = getattr(study, view), study.ventricles[view]
    highest = np.percentile(through_wall(tomogram, lv, around, along), 90)
    return float(through_wall(tomogram, lv, np.array(angle), np.array(polar))) / highest


def test_the_same_seed_gives_the_same_study_and_another_another():
    one, same, other = (synthesise_spect(seed, voxel_mm=6.4) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.stress.counts, same.stress.counts)
    np.testing.assert_array_equal(one.rest.counts, same.rest.counts)
    assert one.truth == same.truth
    assert not np.array_equal(one.stress.counts, other.stress.counts)


def test_a_reversible_defect_is_there_at_stress_and_gone_at_rest():
    differences = []
    for seed in range(10, 13):
        study = synthesise_spect(seed, "ischemia", voxel_mm=6.4)
        at = study.defect.angle, study.defect.polar
        differences.append(uptake(study, "rest", *at) - uptake(study, "stress", *at))
    assert min(differences) > 0.1


def test_a_fixed_defect_is_there_at_both():
    for seed in range(20, 23):
        study = synthesise_spect(seed, "infarction", voxel_mm=6.4)
        at = study.defect.angle, study.defect.polar
        stress, rest = (uptake(study, view, *at) for view in ("stress", "rest"))
        assert max(stress, rest) < 0.85
        assert abs(stress - rest) < 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_says_what_was_drawn(kind):
    study = synthesise_spect(31, kind, voxel_mm=6.4)
    truth = study.truth
    assert truth["class"] == kind == study.kind
    assert set(truth["uptake_stress"]) == {str(number) for number in range(1, 18)}
    lowest = {view: min(truth[f"uptake_{view}"].values()) for view in ("stress", "rest")}
    if kind == "normal":
        assert study.defect is None
        assert "territory" not in truth
        assert min(lowest.values()) > 0.7
        return
    assert 0.02 < truth["extent"] < 0.6
    assert lowest["stress"] < 0.85
    gain = truth["uptake_rest"][worst(truth)] - truth["uptake_stress"][worst(truth)]
    assert gain > 0.1 if kind == "ischemia" else abs(gain) < 0.1


def worst(truth):
    return min(truth["uptake_stress"], key=truth["uptake_stress"].get)


def test_territories_are_those_of_the_aha_segments():
    """Cerqueira 2002: LAD 1, 2, 7, 8, 13, 14, 17; RCA 3, 4, 9, 10, 15; LCX 5, 6, 11, 12, 16."""
    supplied = {
        "LAD": {1, 2, 7, 8, 13, 14, 17},
        "RCA": {3, 4, 9, 10, 15},
        "LCX": {5, 6, 11, 12, 16},
    }
    seen = set()
    random = np.random.default_rng(0)
    for _ in range(200):
        defect = draw_defect(random, "infarction")
        middle = segment_of(np.array(defect.angle), np.array(defect.polar))
        assert int(middle) in supplied[defect.territory]
        seen.add(defect.territory)
    assert seen == set(supplied)


def test_segments_are_counted_from_the_anterior_wall_over_the_septum():
    ring = np.radians([90, 150, 210, 270, 330, 30])
    assert segment_of(ring, np.full(6, 0.9)).tolist() == [1, 2, 3, 4, 5, 6]
    assert segment_of(ring, np.full(6, 0.6)).tolist() == [7, 8, 9, 10, 11, 12]
    cross = np.radians([90, 180, 270, 0])
    assert segment_of(cross, np.full(4, 0.3)).tolist() == [13, 14, 15, 16]
    assert segment_of(cross, np.full(4, 0.05)).tolist() == [17] * 4


def test_a_defect_fades_outwards_and_comes_back_by_its_reversibility():
    defect = Defect("LCX", 0.0, 0.6, 0.7, 0.3, severity=0.6, reversibility=0.5)
    middle, rim, far = (
        defect.reduction(np.array(angle), np.array(0.6), "stress") for angle in (0.0, 0.7, 2.5)
    )
    assert float(middle) == pytest.approx(0.6, abs=1e-3)
    assert float(rim) == pytest.approx(0.3, abs=0.01)
    assert float(far) < 1e-3
    at_rest = defect.reduction(np.array(0.0), np.array(0.6), "rest")
    assert float(at_rest) == pytest.approx(0.3, abs=1e-3)


def test_counts_are_stored_as_whole_numbers_of_the_whole_range_on_the_asked_voxels():
    study = synthesise_spect(3, voxel_mm=4.8)
    for tomogram in (study.stress, study.rest):
        np.testing.assert_array_equal(tomogram.counts, np.rint(tomogram.counts))
        assert tomogram.counts.max() == 32767
        assert tomogram.counts.min() == 0
        assert tomogram.spacing_mm == (4.8, 4.8, 4.8)
        assert (tomogram.counts[:, 0, 0] == 0).all()  # beyond the field of view


def test_the_wall_is_as_thick_as_the_scanner_blurs_it_and_noisy():
    """The four real tomograms: 21 to 24 mm; background over wall 0.06 to 0.3."""
    widths, backgrounds, noise = [], [], []
    offsets = np.arange(-20, 30, 1.0)
    around, along = np.meshgrid(np.arange(36) * np.pi / 18, np.linspace(0.4, 0.8, 5))
    for seed in range(70, 72):
        study = synthesise_spect(seed, "normal", voxel_mm=4.0)
        lv = study.ventricles["stress"]
        profiles = np.stack([study.stress.at(lv.wall(around, along, d)) for d in offsets], -1)
        wall = profiles[..., 10:31].max(axis=-1)
        widths.append(np.median((profiles[..., :41] > wall[..., None] / 2).sum(axis=-1)))
        backgrounds.append(float(np.median(profiles[..., -1] / np.median(wall))))
        x, y, z = np.moveaxis(study.stress.positions_mm(), -1, 0)
        back = (np.abs(x - 20) < 30) & (np.abs(y - 45) < 20) & (np.abs(z - 55) < 20)
        noise.append(study.stress.counts[back].std() / study.stress.counts[back].mean())
    assert 18 <= np.mean(widths) <= 25
    assert 0.08 < np.mean(backgrounds) < 0.35
    assert 0.05 < min(noise) < max(noise) < 0.3


def test_the_patient_lies_a_little_differently_at_rest_unless_told_not_to():
    study, still = synthesise_spect(5), synthesise_spect(5, apart=False)
    moved = study.ventricles["rest"].base_mm - study.ventricles["stress"].base_mm
    assert 0.5 < np.linalg.norm(moved) < 20
    np.testing.assert_array_equal(
        still.ventricles["rest"].base_mm, still.ventricles["stress"].base_mm
    )


def test_drawing_needs_neither_torch_nor_dicom():
    code = (
        "import sys, models.synthetic.spect; "
        "sys.exit(bool({'torch', 'scipy', 'pydicom'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
