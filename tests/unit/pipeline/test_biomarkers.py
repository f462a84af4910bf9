from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.synthetic.cine import synthesise_cine
from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY, CineCase, Phases, Segmentation
from pipeline.stages.biomarkers import VOLUMETRIC, WALL, Quantify, volume_curve_ml
from pipeline.stages.curve import PEAK_RATES
from pipeline.stages.quality import CheckQuality
from tests.unit.pipeline.cine_cases import (
    ADULT,
    OracleSegmenter,
    drawn_case,
    header,
    label_stack,
    oracle_pipeline,
    value,
    withheld,
)

UNITS = {
    **{f"{side}_{name}": "ml" for side in ("lv", "rv") for name in ("edv", "esv", "sv")},
    **{f"{side}_{name}_index": "ml/m2" for side in ("lv", "rv") for name in ("edv", "esv", "sv")},
    "lv_ef": "%",
    "rv_ef": "%",
    "lv_mass": "g",
    "lv_mass_index": "g/m2",
    "cardiac_output": "l/min",
    "cardiac_output_index": "l/min/m2",
    "lv_peak_ejection_rate": "ml/s",
    "lv_peak_filling_rate": "ml/s",
    "heart_rate": "/min",
    "bsa": "m2",
    **dict.fromkeys(WALL, "mm"),
}
MEASURED = ("lv_edv", "lv_esv", "lv_sv", "lv_ef", "lv_mass", "rv_edv", "rv_esv", "rv_sv", "rv_ef")


def quantify(labels, headers=None, **geometry):
    stack = label_stack(labels, headers=headers, **geometry)
    phases = Phases(ed=0, es=min(1, len(labels) - 1))
    case = Quantify()(CineCase(stack, phases=phases, segmentation=Segmentation(labels)))
    stated = tuple(one for one in case.biomarkers if one.name not in PEAK_RATES)
    return replace(case, biomarkers=stated)


def blocks(*volumes_px):
    """Label maps [t, 3, 20, 20] with (LV, myocardium, RV) pixels in each slice of each phase."""
    labels = np.zeros((len(volumes_px), 3, 20, 20), dtype=np.uint8)
    for phase, counts in enumerate(volumes_px):
        flat = labels[phase].reshape(3, -1)
        first = 0
        for code, count in zip((LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY), counts, strict=True):
            flat[:, first : first + count] = code
            first += count
    return labels


def test_every_biomarker_has_its_name_and_unit_once():
    case = drawn_case()
    assert {one.name: one.unit for one in case.biomarkers} == UNITS
    assert len(case.biomarkers) == len(UNITS)
    assert set(VOLUMETRIC) == set(UNITS) - {"heart_rate", "bsa"}


def test_the_arithmetic_of_a_known_heart():
    header_of = header(PatientSize="1.8", PatientWeight="80", HeartRate="70")
    case = quantify(
        blocks((120, 100, 130), (60, 110, 70)), {"1.2": header_of}, pixel_spacing_mm=(2.0, 2.5)
    )  # 5 mm2 x 3 slices x 10 mm: 0.15 ml a pixel
    expected = {
        "lv_edv": 18,
        "lv_esv": 9,
        "lv_sv": 9,
        "lv_ef": 50,
        "lv_mass": 15 * 1.055,
        "rv_edv": 19.5,
        "rv_esv": 10.5,
        "rv_sv": 9,
        "rv_ef": 100 * 9 / 19.5,
        "cardiac_output": 0.63,
        "heart_rate": 70,
        "bsa": 2.0,
        "lv_edv_index": 9,
        "lv_esv_index": 4.5,
        "lv_sv_index": 4.5,
        "lv_mass_index": 15 * 1.055 / 2,
        "rv_edv_index": 9.75,
        "rv_esv_index": 5.25,
        "rv_sv_index": 4.5,
        "cardiac_output_index": 0.315,
    }
    assert {one.name: one.value for one in case.biomarkers} == pytest.approx(expected)
    assert case.volume_curve_ml["lv"].tolist() == pytest.approx([18, 9])
    assert case.volume_curve_ml["rv"].tolist() == pytest.approx([19.5, 10.5])


def test_gaps_between_slices_enter_the_volumes():
    labels = np.zeros((1, 3, 10, 10), dtype=np.uint8)
    labels[0, 1, :5] = LV_CAVITY
    labels[0, 2, 0] = LV_CAVITY
    stack = label_stack(
        labels, slice_extent_mm=np.array([8.0, 12.0, 20.0]), pixel_spacing_mm=(1, 2)
    )
    assert volume_curve_ml(labels, LV_CAVITY, stack) == pytest.approx([(50 * 12 + 10 * 20) * 2e-3])


@pytest.mark.parametrize(
    ("labels", "names", "reason"),
    [
        (blocks((100, 90, 0), (60, 90, 0)), ["rv_edv", "rv_esv", "rv_sv", "rv_ef", "rv_edv_index"],
         "no RV cavity was found at end"),
        (blocks((100, 90, 80), (60, 90, 0)), ["rv_esv", "rv_sv", "rv_ef", "rv_sv_index"],
         "no RV cavity was found at end systole"),
        (blocks((100, 0, 80), (60, 0, 50)), ["lv_mass", "lv_mass_index"],
         "no LV myocardium was found at end diastole"),
        (blocks((0, 90, 80), (60, 90, 50)), ["lv_edv", "lv_sv", "lv_ef", "cardiac_output"],
         "no LV cavity was found at end diastole"),
        (blocks((100, 90, 80), (0, 90, 50)), ["lv_esv", "lv_sv", "lv_ef", "cardiac_output"],
         "no LV cavity was found at end systole"),
    ],
)  # fmt: skip
def test_an_empty_mask_withholds_what_it_would_give_and_only_that(labels, names, reason):
    case = quantify(labels)
    for one in case.biomarkers:
        affected = one.name in names or one.name.removesuffix("_index") in names
        assert (one.value is None) == affected, one
        assert (one.withheld is not None) == affected
    assert all(reason in withheld(case, name) for name in names)


@pytest.mark.parametrize(
    ("without", "said", "names"),
    [
        ("PatientSize", "height", ["bsa", *(name for name in UNITS if name.endswith("_index"))]),
        ("PatientWeight", "weight", ["bsa", *(name for name in UNITS if name.endswith("_index"))]),
        ("HeartRate", "heart rate", ["heart_rate", "cardiac_output", "cardiac_output_index"]),
    ],
)
def test_an_unknown_fact_withholds_what_needs_it_and_only_that(without, said, names):
    facts = {keyword: fact for keyword, fact in ADULT.items() if keyword != without}
    case = quantify(blocks((100, 90, 80), (60, 90, 50)), {"1.2": header(**facts)})
    assert {one.name for one in case.biomarkers if one.value is None} == set(names)
    assert all(f"no {said}" in withheld(case, name) for name in names)


@pytest.mark.parametrize(("rate", "is_known"), [("94", True), ("96", False)])
def test_images_beyond_the_beat_contradict_the_heart_rate(rate, is_known):
    """20 phases of 40 ms: the last is 760 ms after the R wave, 1.2 beats of 94.7 /min."""
    labels = blocks(*[(100, 90, 80), (60, 90, 50)] * 10)
    case = quantify(labels, {"1.2": header(**(ADULT | {"HeartRate": rate}))})
    lost = {one.name for one in case.biomarkers if one.value is None}
    needing = {"heart_rate", "cardiac_output", "cardiac_output_index"}
    assert lost == (set() if is_known else needing)
    assert is_known or "longer than a beat" in withheld(case, "cardiac_output")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 130)] * 3), min_size=2, max_size=2))
def test_a_value_is_finite_or_withheld_never_both(volumes):
    for one in quantify(blocks(*volumes)).biomarkers:
        assert (one.value is None) == (one.withheld is not None)
        assert one.value is None or np.isfinite(one.value)
        assert one.value is None or one.name.endswith(("sv", "ef", "output", "index")) or one.value


@cache
def drawn() -> CineCase:
    return drawn_case()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 11), st.integers(0, 11))
def test_ejection_fractions_lie_within_0_and_100(ed, es):
    """Whatever phases are taken for ED and ES: what contradicts them is withheld."""
    before = replace(drawn(), phases=Phases(ed, es), biomarkers=(), quality=())
    case = CheckQuality(8, OracleSegmenter.card)(Quantify()(before))
    for name in ("lv_ef", "rv_ef"):
        ef = value(case, name)
        assert ef is None or 0 <= ef <= 100


OBLIQUE = (
    (0.7313537016191705, 0.5567731116306219, -0.39391924),
    (-0.25, 0.7548, 0.60622),
)
GEOMETRIES = {
    "square": {},
    "non-square": {"pixel_spacing_mm": (1.2, 1.9), "rows": 240, "columns": 160},
    "gaps": {"slice_spacing_mm": 9.0, "slice_thickness_mm": 5.0, "slices": 13},
    "thin": {"slice_spacing_mm": 6.0, "slices": 20},
    "off centre": {"heart_offset_mm": (60.0, -20.0)},
    "ed last": {"ed_phase": 13},
}


@cache
def synthetic(geometry):
    return synthesise_cine(11, phases=14, **GEOMETRIES[geometry])


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("arrangement", ["base first", "apex first", "oblique"])
def test_given_its_true_masks_the_synthetic_heart_is_measured_to_3_percent(geometry, arrangement):
    cine = synthetic(geometry)
    labels = cine.labels[:, ::-1] if arrangement == "apex first" else cine.labels
    stack = label_stack(
        labels,
        pixel_spacing_mm=cine.pixel_spacing_mm,
        slice_spacing_mm=cine.slice_spacing_mm,
        **({"cosines": OBLIQUE} if arrangement == "oblique" else {}),
    )
    case = oracle_pipeline().run(stack)
    measured = {name: value(case, name) for name in MEASURED}
    truth = {name: cine.truth[f"{name}_analytic"] for name in MEASURED}
    assert measured == pytest.approx(truth, rel=0.03)
    assert (case.phases.ed, case.phases.es) == (cine.ed, cine.es)


def test_uneven_slices_are_measured_to_3_percent():
    """Slices taken away here and there: each of the others stands for what it covers."""
    cine = synthesise_cine(5, phases=8, slices=24, slice_spacing_mm=5.0)
    kept = np.delete(np.arange(24), [9, 11, 12, 15])
    edges = np.concatenate([[-2.5], (kept[1:] + kept[:-1]) / 2 * 5.0, [23 * 5.0 + 2.5]])
    stack = label_stack(
        cine.labels[:, kept],
        pixel_spacing_mm=cine.pixel_spacing_mm,
        slice_spacing_mm=5.0,
        slice_extent_mm=np.diff(edges),
    )
    case = oracle_pipeline().run(stack)
    for name in ("lv_edv", "lv_esv", "lv_ef", "lv_mass"):
        assert value(case, name) == pytest.approx(cine.truth[f"{name}_analytic"], rel=0.03)


def test_quantification_needs_phases_and_label_maps():
    with pytest.raises(ValueError, match="after detection and segmentation"):
        Quantify()(replace(drawn_case(), phases=None))


def test_volumes_of_the_right_ventricle_are_taken_at_the_phases_of_the_left():
    labels = np.concatenate([blocks((100, 90, 60)), blocks((60, 90, 80)), blocks((70, 90, 20))])
    case = quantify(labels)
    pixel_ml = 1.5 * 1.5 * 3 * 10 / 1000
    assert value(case, "rv_edv") == pytest.approx(60 * pixel_ml)
    assert value(case, "rv_esv") == pytest.approx(80 * pixel_ml)
