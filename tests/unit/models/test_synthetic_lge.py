"""The synthetic late enhancement heart: physics, place, truth."""

import subprocess
import sys

import numpy as np
import pytest

from models.synthetic.cine import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY, synthesise_cine
from models.synthetic.lge import NO_REFLOW, SCAR, SyntheticLge, synthesise_lge

SEEDS = range(8)
LV = (LV_CAVITY, LV_MYOCARDIUM, SCAR, NO_REFLOW)


@pytest.fixture(scope="module")
def hearts() -> list[SyntheticLge]:
    return [synthesise_lge(seed, rows=128, columns=128) for seed in SEEDS]


def test_the_same_seed_gives_the_same_heart_and_another_seed_another() -> None:
    first, again, other = (synthesise_lge(s, rows=80, columns=80) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.signal, again.signal)
    np.testing.assert_array_equal(first.acquire()[0], again.acquire()[0])
    assert first.truth == again.truth
    assert first.truth["scar_mass"] != other.truth["scar_mass"]


def test_repeats_differ_in_noise_alone(hearts: list[SyntheticLge]) -> None:
    lge = hearts[0]
    first, second = (lge.acquire(repeat)[1] for repeat in (0, 1))
    assert np.std(first - second) == pytest.approx(np.sqrt(2) * lge.noise, rel=0.01)
    assert np.mean(first - lge.signal) == pytest.approx(0, abs=0.01 * lge.noise)


def test_magnitudes_are_rician_and_phase_sensitive_images_signed(
    hearts: list[SyntheticLge],
) -> None:
    """Where there is no signal the magnitude is Rayleigh: mean 1.253, deviation 0.655 noise."""
    lge = synthesise_lge(1, rows=224, columns=224)
    nothing = lge.signal == 0
    assert nothing.sum() > 10_000
    magnitude, real = lge.acquire()
    assert magnitude[nothing].mean() == pytest.approx(1.2533 * lge.noise, rel=0.02)
    assert magnitude[nothing].std() == pytest.approx(0.6551 * lge.noise, rel=0.02)
    assert real[nothing].mean() == pytest.approx(0, abs=0.05 * lge.noise)
    assert real.min() < -2 * lge.noise < 0 <= magnitude.min()


@pytest.mark.parametrize("seed", SEEDS)
def test_remote_is_nulled_scar_brightest_and_no_reflow_dark(
    hearts: list[SyntheticLge], seed: int
) -> None:
    lge = hearts[seed]
    remote, scar, blood = (
        np.median(lge.signal[lge.labels == label]) for label in (LV_MYOCARDIUM, SCAR, LV_CAVITY)
    )
    assert abs(remote) < 0.15 * scar
    assert 0.5 * scar < blood < 0.98 * scar
    if lge.truth["no_reflow_mass"]:
        assert np.median(lge.signal[lge.labels == NO_REFLOW]) < 0.3 * scar
    assert (scar - remote) / lge.noise == pytest.approx(7.5, abs=1)


def test_inversion_time_nulls_some_t1_of_remote_myocardium(hearts: list[SyntheticLge]) -> None:
    for lge in hearts:
        assert 240 < lge.inversion_time_ms < 360
        assert lge.repetition_time_ms == pytest.approx(120_000 / lge.heart_rate_bpm, abs=0.1)


@pytest.mark.parametrize("seed", SEEDS)
def test_truth_is_the_count_of_labels_and_that_of_the_geometry(
    hearts: list[SyntheticLge], seed: int
) -> None:
    lge = hearts[seed]
    grams = lge.voxel_ml * 1.055
    scar, core = (np.count_nonzero(lge.labels == label) for label in (SCAR, NO_REFLOW))
    whole = np.count_nonzero(lge.labels == LV_MYOCARDIUM) + scar + core
    assert lge.truth["scar_mass"] == pytest.approx((scar + core) * grams)
    assert lge.truth["no_reflow_mass"] == pytest.approx(core * grams)
    assert lge.truth["lge_lv_mass"] == pytest.approx(whole * grams)
    assert lge.truth["scar_percent"] == pytest.approx(100 * (scar + core) / whole)
    assert lge.truth["scar_mass"] == pytest.approx(lge.truth["scar_mass_analytic"], rel=0.05)
    assert 5 < lge.truth["scar_percent"] < 30


def test_transmurality_stands_for_every_segment_and_is_a_share(hearts: list[SyntheticLge]) -> None:
    for lge in hearts:
        assert set(lge.transmurality) == set(range(1, 17))
        assert 0.25 < max(lge.transmurality.values()) <= 1
        assert min(lge.transmurality.values()) == 0


def test_scar_starts_at_the_endocardium_and_hearts_with_a_core_are_among_them(
    hearts: list[SyntheticLge],
) -> None:
    assert {bool(lge.truth["no_reflow_mass"]) for lge in hearts} == {True, False}
    for lge in hearts:
        padded = np.pad(lge.labels == LV_CAVITY, ((0, 0), (1, 1), (1, 1)))
        beside = padded[:, :-2, 1:-1] | padded[:, 2:, 1:-1] | padded[:, 1:-1, :-2]
        assert (beside & (lge.labels == SCAR)).sum() > 20


def test_a_core_can_be_asked_for_and_scar_left_away() -> None:
    for no_reflow in (True, False):
        lge = synthesise_lge(2, rows=96, columns=96, no_reflow=no_reflow)
        assert (lge.truth["no_reflow_mass"] > 0) is no_reflow
    healthy = synthesise_lge(2, rows=96, columns=96, scar=False)
    assert healthy.truth["scar_mass"] == healthy.truth["scar_percent"] == 0
    assert healthy.truth["scar_mass_analytic"] == 0
    assert healthy.transmurality == {}
    assert not np.isin(healthy.labels, (SCAR, NO_REFLOW)).any()


@pytest.mark.parametrize("seed", [1, 4])
def test_it_is_the_heart_of_the_cine_with_this_seed(seed: int) -> None:
    """At the same place in mm, in diastasis; so a study can hold both."""
    cine = synthesise_cine(seed, rows=112, columns=112)
    lge = synthesise_lge(seed, rows=128, columns=128)
    at_rest = cine.labels[15]
    for labels in ((LV_CAVITY,), (LV_MYOCARDIUM, SCAR, NO_REFLOW), (RV_CAVITY,)):
        theirs, ours = np.isin(at_rest, labels[:1]), np.isin(lge.labels, labels)
        assert ours.sum() * lge.voxel_ml == pytest.approx(theirs.sum() * cine.voxel_ml, rel=0.02)
        for axis, (mm, wide) in enumerate(((10, 12), (1.6, 112), (1.6, 112))):
            mine = (10, 1.4, 1.4)[axis], (12, 128, 128)[axis]
            there = (np.nonzero(theirs)[axis].mean() - (wide - 1) / 2) * mm
            here = (np.nonzero(ours)[axis].mean() - (mine[1] - 1) / 2) * mine[0]
            assert here == pytest.approx(there, abs=0.4)


def test_either_end_of_the_stack_lies_beyond_the_ventricle(hearts: list[SyntheticLge]) -> None:
    for lge in hearts:
        shows = np.isin(lge.labels, LV).any(axis=(1, 2))
        assert not shows[0]
        assert not shows[-1]


def test_a_heart_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        synthesise_lge(1, slices=4)


def test_numpy_is_enough() -> None:
    code = (
        "import sys; from models.synthetic.lge import synthesise_lge as make;"
        "make(1, rows=64, columns=64);"
        "sys.exit(bool({'torch', 'scipy', 'pydicom'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
