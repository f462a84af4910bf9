"""The synthetic ECG: leads that belong together, and what each class must show."""

import numpy as np
import pytest

from models.ecg_leads import LEADS
from models.ecg_sheet import CLASSES, SECONDS
from models.synthetic.ecg import (
    ABNORMAL,
    ACUTE,
    HZ,
    NORMAL,
    OLD,
    WALLS,
    beats_at,
    synthesise_ecg,
    twelve,
    with_infarct,
)

BEATS = np.arange(0.5, 10, 0.8)
LOOKS_AT = {
    "anterior": ("V2", "V3"),
    "inferior": ("II", "III", "aVF"),
    "lateral": ("I", "aVL", "V6"),
}
OPPOSITE = {"anterior": ("III",), "inferior": ("aVL", "V2"), "lateral": ("III", "V2")}


def healthy():
    """A record of the same QRS and T in every independent lead, in mV."""
    beats = beats_at(BEATS)
    independent = np.outer(np.full(8, 1.0), beats.waves[2]) + np.outer(
        np.full(8, 0.3), beats.waves[4]
    )
    return twelve(independent)


def at(leads, lead, offset_s):
    """Median over the beats, so many seconds after R."""
    places = np.round((BEATS[1:-1] + offset_s) * HZ).astype(int)
    return float(np.median(leads[LEADS.index(lead)][places]))


def test_leads_follow_from_one_another_as_einthoven_and_goldberger_say():
    for seed in range(8):
        lead = dict(zip(LEADS, synthesise_ecg(seed).leads, strict=True))
        np.testing.assert_allclose(lead["I"] + lead["III"], lead["II"], atol=1e-5)
        np.testing.assert_allclose(lead["aVR"] + lead["aVL"] + lead["aVF"], 0, atol=1e-5)
        np.testing.assert_allclose(lead["aVF"], (lead["II"] + lead["III"]) / 2, atol=1e-5)


def test_a_seed_is_a_record_and_another_seed_another_one():
    one, again, other = (synthesise_ecg(seed) for seed in (4, 4, 5))
    assert np.array_equal(one.leads, again.leads)
    assert not np.array_equal(one.leads, other.leads)
    assert one.leads.shape == (12, SECONDS * HZ)
    assert {synthesise_ecg(seed).label for seed in range(30)} == {NORMAL, ABNORMAL, ACUTE, OLD}


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_records_of_a_class_say_so_and_are_of_the_size_of_hearts(label):
    for seed in range(6):
        drawn = synthesise_ecg(seed, label)
        assert drawn.label == label
        assert bool(drawn.wall) == (label in (ACUTE, OLD))
        assert (drawn.rhythm == "sinus") == (label != ABNORMAL)
        assert 0.5 < np.ptp(drawn.leads, axis=1).max() < 8
        if label != ABNORMAL:
            assert 50 < drawn.heart_rate_bpm < 105


@pytest.mark.parametrize("wall", WALLS)
@pytest.mark.parametrize("seed", range(4))
def test_an_acute_infarct_lifts_st_over_its_wall_and_sinks_it_opposite(wall, seed):
    before = healthy()
    after = with_infarct(before, HZ, BEATS, label=ACUTE, wall=wall, rng=np.random.default_rng(seed))
    for lead in LOOKS_AT[wall]:
        assert at(after, lead, 0.1) - at(before, lead, 0.1) > 0.05, lead
    for lead in OPPOSITE[wall]:
        assert at(after, lead, 0.1) - at(before, lead, 0.1) < -0.02, lead
    middle = LOOKS_AT[wall][-1]
    assert at(after, middle, 0.0) == pytest.approx(at(before, middle, 0.0), abs=0.15)


@pytest.mark.parametrize("wall", WALLS)
@pytest.mark.parametrize("seed", range(4))
def test_an_old_infarct_leaves_a_wide_q_less_r_and_an_inverted_t(wall, seed):
    before = healthy()
    after = with_infarct(before, HZ, BEATS, label=OLD, wall=wall, rng=np.random.default_rng(seed))
    lead = {"anterior": "V2", "inferior": "aVF", "lateral": "V6"}[wall]
    assert at(after, lead, -0.035) < -0.1
    assert at(after, lead, 0.0) < at(before, lead, 0.0) - 0.2
    assert at(after, lead, 0.25) < -0.02
    trace = after[LEADS.index(lead)]
    start, stop = (round((BEATS[3] + offset) * HZ) for offset in (-0.09, 0.0))
    below = (trace[start:stop] < -0.02).sum() / HZ
    assert below >= 0.03


def test_an_infarct_of_a_record_leaves_its_leads_together():
    after = with_infarct(
        healthy(), HZ, BEATS, label=OLD, wall="inferior", rng=np.random.default_rng(1)
    )
    lead = dict(zip(LEADS, after, strict=True))
    np.testing.assert_allclose(lead["I"] + lead["III"], lead["II"], atol=1e-9)


def test_abnormal_heartbeats_are_what_they_are_called():
    found = {}
    for seed in range(60):
        drawn = synthesise_ecg(seed, ABNORMAL)
        found.setdefault(drawn.rhythm, drawn)
    assert len(found) == 7
    assert found["tachycardia"].heart_rate_bpm > 100
    assert found["bradycardia"].heart_rate_bpm < 50
    width = {
        name: _share_of_motion(found[name]) for name in ("left bundle branch block", "tachycardia")
    }
    assert width["left bundle branch block"] < width["tachycardia"]


def _share_of_motion(drawn):
    """How steep the steepest lead is for its height: narrow complexes are steep."""
    lead = drawn.leads[np.ptp(drawn.leads, axis=1).argmax()]
    smooth = np.convolve(lead, np.ones(5) / 5, "valid")
    return np.abs(np.diff(smooth)).max() / np.ptp(smooth)
